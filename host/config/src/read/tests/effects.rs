//! What can be read, and has no effect: a warning each, and none for what has one.

use super::*;

#[track_caller]
fn warned(text: &str, message: &str) {
    let report = warnings(text);
    assert!(report.contains(message), "no {message:?} in\n{report}");
    assert!(report.contains("sluice.toml:"), "no line in\n{report}");
    assert!(
        report.ends_with("1 warning in the configuration"),
        "{report}"
    );
}

#[track_caller]
fn in_route(line: &str, message: &str) {
    warned(
        &broken(
            "upstream = \"sink\"",
            &format!("upstream = \"sink\"\n{line}"),
        ),
        message,
    );
}

#[test]
fn a_configuration_in_which_everything_has_an_effect_has_no_warnings() {
    assert_eq!(warnings(GOOD), "");
    let usual =
        "upstream = \"sink\"\nrate_per = \"1m\"\nframes_window = \"5s\"\nresume_grace = \"0s\"";
    assert_eq!(warnings(&broken("upstream = \"sink\"", usual)), "");
    let trial = "\n[policies.next]\ncomponent = \"builtin:sample-rate\"\nshadow_of = \"rate\"\n";
    assert_eq!(warnings(&format!("{GOOD}{trial}")), "");
}

#[test]
fn sections_that_nobody_names_are_told_of() {
    for (section, message) in [
        (
            "[policies.next]\ncomponent = \"builtin:sample-rate\"",
            "policy `next` is never called",
        ),
        (
            "[policies.next]\ncomponent = \"builtin:sample-rate\"\nshadow = true",
            "policy `next` is never called",
        ),
        (
            "[upstreams.old]\nkind = \"echo\"",
            "no route streams to the upstream `old`",
        ),
        ("[decisions]\nmax_files = 3", "[decisions] records nothing"),
    ] {
        warned(&format!("{GOOD}\n{section}\n"), message);
    }
    let text = format!("registry_realms = [\"sso.example.net\"]\n{GOOD}");
    warned(&text, "no component comes from a registry");
}

#[test]
fn options_that_others_make_meaningless_are_told_of() {
    in_route("rate_per = \"2m\"", "`rate_per` has no effect");
    in_route("rate_key = [\"query.source\"]", "`rate_key` has no effect");
    in_route("frames_window = \"2s\"", "`frames_window` has no effect");
    in_route("frames_kept = 8", "`frames_kept` has no effect");
    in_route(
        "frames_payload = \"1KiB\"",
        "`frames_payload` has no effect",
    );
    in_route(
        "ping_interval = \"90s\"",
        "disconnected before the first ping",
    );
    in_route(
        "idle_timeout = \"10s\"",
        "disconnected before the first ping",
    );
    let plain = |line: &str| {
        let plain = format!("handshake = \"none\"\n{line}");
        let text = broken("on_handshake = [\"rate\"]", &plain);
        text.replace("[policies.rate]\ncomponent = \"builtin:sample-rate\"", "")
    };
    for (line, message) in [
        (
            "handshake_timeout = \"5s\"",
            "`handshake_timeout` has no effect",
        ),
        ("max_ahead = \"5s\"", "`max_ahead` has no effect"),
        ("resume_grace = \"5s\"", "`resume_grace` has no effect"),
    ] {
        warned(&plain(line), message);
    }
    assert_eq!(warnings(&plain("")), "");
    let policy = broken(
        "grants = [\"jwt\"]",
        "grants = [\"jwt\"]\nquarantine = \"0s\"\nquarantine_after = 3",
    );
    warned(&policy, "`quarantine_after` has no effect");
    let parked = broken(
        "upstream = \"sink\"",
        "upstream = \"sink\"\nresume_grace = \"9s\"",
    );
    let recorded = parked.replace("kind = \"discard\"", "kind = \"wav\"");
    assert_eq!(warnings(&recorded), "");
    warned(
        &format!("{recorded}\n[server]\nmax_parked = 0\n"),
        "`max_parked` lets no stream wait",
    );
    let backend = "kind = \"websocket\"\nurl = \"ws://h/x\"\nrest_after = 0\nrest = \"9s\"";
    warned(
        &broken("kind = \"discard\"", backend),
        "`rest` has no effect",
    );
}

#[test]
fn two_timeouts_over_the_route_s_own_are_two_warnings() {
    let text = broken(
        "upstream = \"sink\"",
        "upstream = \"sink\"\nadmission_timeout = \"10ms\"",
    );
    let report = warnings(&text);
    assert!(
        report.ends_with("4 warnings in the configuration"),
        "{report}"
    );
}

/// [`GOOD`] with an upstream that is a backend, and a route that it is right for.
fn with_backend(lines: &str) -> String {
    let backend = format!("kind = \"websocket\"\nurl = \"ws://h/x\"\n{lines}");
    broken("kind = \"discard\"", &backend)
}

#[test]
fn options_of_a_route_that_policies_or_upstreams_make_meaningless_are_told_of() {
    let without_auth = GOOD
        .replace("on_connect = [\"auth\"]\n", "")
        .replace(
            "[policies.auth]\ncomponent = \"builtin:auth\"\ngrants = [\"jwt\"]\n",
            "",
        )
        .replace("config = { key_set = \"main\" }\n", "")
        .replace("[key_sets.main]\ngenerate = true\n", "");
    assert_eq!(warnings(&without_auth), "");
    warned(
        &without_auth.replace(
            "upstream = \"sink\"",
            "upstream = \"sink\"\ntoken_expiry = \"ignore\"",
        ),
        "`token_expiry` has no effect",
    );
    let ignoring = "upstream = \"sink\"\ntoken_expiry = \"ignore\"";
    assert_eq!(warnings(&broken("upstream = \"sink\"", ignoring)), "");
    for upstream in ["kind = \"discard\"", "kind = \"echo\""] {
        let text = broken("kind = \"discard\"", upstream);
        let waiting = "upstream = \"sink\"\nresume_grace = \"9s\"";
        warned(
            &text.replace("upstream = \"sink\"", waiting),
            "the upstream `sink` gives no receipts",
        );
    }
    let waiting = |text: String| {
        text.replace(
            "upstream = \"sink\"",
            "upstream = \"sink\"\nresume_grace = \"9s\"",
        )
    };
    warned(
        &waiting(with_backend("")),
        "the upstream `sink` gives no receipts",
    );
    assert_eq!(warnings(&waiting(with_backend("receipts = \"sent\""))), "");
    in_route(
        "idle_timeout = \"2m\"\nmax_duration = \"1m\"",
        "`idle_timeout` has no effect",
    );
    // A frame policy without the grant sees sizes and times, and no payload.
    let frames = "on_frames = [\"frames\"]\nframes_payload = \"1KiB\"\nframes_kept = 8";
    let section = "[policies.frames]\ncomponent = \"builtin:sample-rate\"";
    let watched = broken(
        "upstream = \"sink\"",
        &format!("upstream = \"sink\"\n{frames}"),
    );
    warned(
        &format!("{watched}\n{section}\n"),
        "`frames_payload` has no effect",
    );
    let granted = format!("{watched}\n{section}\ngrants = [\"payload\"]\n");
    assert_eq!(warnings(&granted), "");
    // Nor does what is tried out in its place.
    let next = "[policies.next]\ncomponent = \"builtin:sample-rate\"\nshadow_of = \"frames\"\ngrants = [\"payload\"]";
    assert_eq!(warnings(&format!("{watched}\n{section}\n{next}\n")), "");
}

#[test]
fn options_of_a_policy_that_it_cannot_use_are_told_of() {
    let policy = |line: &str| broken("grants = [\"jwt\"]", &format!("grants = [\"jwt\"]\n{line}"));
    for (line, message) in [
        ("max_counters = 7", "`max_counters` has no effect"),
        (
            "max_log_lines = 0\nmax_log_bytes = \"1KiB\"",
            "`max_log_bytes` has no effect",
        ),
        ("max_calls = 4000", "`max_calls` has no effect"),
        (
            "compile_memory = \"1GiB\"",
            "`compile_memory` has no effect",
        ),
        ("compile_time = \"1s\"", "`compile_time` has no effect"),
    ] {
        warned(&policy(line), message);
    }
    for line in [
        "max_counters = 10000",
        "max_log_lines = 0",
        "max_calls = 128",
    ] {
        assert_eq!(warnings(&policy(line)), "");
    }
    let payload = broken("grants = [\"jwt\"]", "grants = [\"jwt\", \"payload\"]");
    warned(
        &payload,
        "the grant `payload` of policy `auth` has no effect",
    );
}

#[test]
fn options_of_the_server_and_of_backends_that_others_make_meaningless_are_told_of() {
    let server = |lines: &str| format!("{GOOD}\n[server]\n{lines}\n");
    for (lines, message) in [
        (
            "admin_hosts = [\"metrics.internal\"]",
            "`admin_hosts` has no effect",
        ),
        (
            "admin_token_env = \"LONG_SECRET\"",
            "`admin_token_env` has no effect",
        ),
        (
            "admin_read_token_env = \"LONG_SECRET\"",
            "`admin_read_token_env` has no effect",
        ),
        (
            "admin_tls_certificate = \"cert.pem\"\nadmin_tls_key = \"key.pem\"",
            "`admin_tls_certificate` has no effect",
        ),
        (
            "max_connections = 10\nmax_connections_per_address = 10",
            "`max_connections_per_address` has no effect",
        ),
        (
            "max_connections = 10\nmax_connections_per_user = 11",
            "`max_connections_per_user` has no effect",
        ),
        (
            "max_parked = 10\nmax_parked_per_client = 50",
            "`max_parked_per_client` has no effect",
        ),
    ] {
        warned(&server(lines), message);
    }
    for lines in [
        "admin_listen = \"127.0.0.1:9180\"\nadmin_hosts = [\"metrics.internal\"]",
        "probe_listen = \"0.0.0.0:9181\"\nadmin_hosts = [\"metrics.internal\"]",
        "max_connections_per_user = 10\nmax_connections_per_tenant = 0",
        "max_parked = 10",
    ] {
        assert_eq!(warnings(&server(lines)), "");
    }
    let open = "[upstreams.sink]\nkind = \"discard\"\n[routes.open]\npaths = [\"/open\"]\nupstream = \"sink\"\n";
    for (option, of) in [
        (
            "max_connections_per_user = 10",
            "`max_connections_per_user` has no effect",
        ),
        (
            "max_connections_per_tenant = 10",
            "`max_connections_per_tenant` has no effect",
        ),
    ] {
        warned(&format!("{open}[server]\n{option}\n"), of);
    }
    assert_eq!(
        warnings(&format!("{open}[server]\nmax_connections_per_user = 0\n")),
        ""
    );

    let held = "on_loss = \"hold\"\nreplay = \"at-most-once\"";
    warned(
        &with_backend(&format!(
            "{held}\nhold_file = \"2MiB\"\nhold_files = \"1MiB\""
        )),
        "`hold_file` has no effect",
    );
    assert_eq!(warnings(&with_backend(held)), "");
    let plain = "[upstreams.backend]\nkind = \"websocket\"\nurl = \"ws://h/x\"\nreceipts = \"sent\"\n\
                 [routes.open]\npaths = [\"/open\"]\nupstream = \"backend\"\nhandshake = \"none\"\n";
    warned(plain, "`receipts` has no effect");

    let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let registry = format!("oci://registry.example.com/auth@sha256:{digest}");
    let text = GOOD.replace("builtin:sample-rate", &registry);
    warned(
        &format!("registry_realms = [\"sso.example.net\"]\n{text}"),
        "`registry_realms` has no effect: there are no `registry_credentials`",
    );
}

#[test]
fn folders_after_somebody_whom_nobody_knows_are_told_of() {
    let open = |path: &str| {
        let config = broken("kind = \"discard\"", &format!("kind = \"wav\"\n{path}"));
        let route = "[routes.open]\npaths = [\"/open\"]\nupstream = \"sink\"";
        format!("{config}\n{route}\n")
    };
    for word in ["tenant", "user"] {
        warned(
            &open(&format!("path = \"{{{word}}}/{{date}}\"")),
            "policy that verifies tokens: they are called `%none`",
        );
    }
    assert_eq!(warnings(&open("")), "");
    assert_eq!(warnings(&open("path = \"{date}\"")), "");
}
