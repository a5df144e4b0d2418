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
            "[key_sets.old]\ngenerate = true",
            "no policy verifies tokens with the key set `old`",
        ),
        (
            "[policies.next]\ncomponent = \"builtin:sample-rate\"",
            "policy `next` is never asked",
        ),
        (
            "[policies.next]\ncomponent = \"builtin:sample-rate\"\nshadow = true",
            "policy `next` is never asked",
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
    in_route("frames_window = \"2s\"", "`frames_window` has no effect");
    in_route("frames_kept = 8", "`frames_kept` has no effect");
    in_route(
        "frames_payload = \"1KiB\"",
        "`frames_payload` has no effect",
    );
    in_route("ping_interval = \"90s\"", "given up before the first ping");
    in_route("idle_timeout = \"10s\"", "given up before the first ping");
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
    warned(
        &format!("{parked}\n[server]\nmax_parked = 0\n"),
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
