//! What cannot be read: one mistake each.

use super::*;

#[test]
fn what_the_other_tests_break_is_good() {
    good(GOOD);
}

#[test]
fn unknown_keys_are_reported_in_every_section() {
    mistake(
        "\n[key_sets",
        "data_dri = \"x\"\n[key_sets",
        "no option `data_dri`",
        "did you mean `data_dir`?",
    );
    mistake(
        "\n[key_sets",
        "[sever]\n[key_sets",
        "no option `sever`",
        "did you mean `server`?",
    );
    mistake(
        "\n[key_sets",
        "[server]\nport = 1\n[key_sets",
        "[server] has no option `port`",
        "[server] knows: admin_hosts, admin_listen, admin_read_token_env, admin_read_token_file,",
    );
    mistake(
        "\n[key_sets",
        "[server]\nadmin_token_file = \"/no/such/file\"\n[key_sets",
        "the file of `admin_token_file`, /no/such/file, has no token: No such file",
        "openssl rand -hex 32",
    );
    mistake(
        "\n[key_sets",
        "[server]\nadmin_token_file = \"/dev/null\"\n[key_sets",
        "the file of `admin_token_file`, /dev/null, has no token: it is shorter than 32 bytes",
        "openssl rand -hex 32",
    );
    mistake(
        "generate = true",
        "generate = true\naudience = []",
        "[key_sets.main] has no option `audience`",
        "did you mean `audiences`?",
    );
    in_policy(
        "memory = \"1MiB\"",
        "[policies.auth] has no option `memory`",
        "[policies.auth] knows: canary, compile_memory, compile_time, component, config,",
    );
    mistake(
        "kind = \"discard\"",
        "kind = \"discard\"\nflavour = 1",
        "[upstreams.sink] has no option `flavour`",
        "knows: kind",
    );
    in_route(
        "idle_timout = \"1s\"",
        "[routes.ingest] has no option `idle_timout`",
        "did you mean `idle_timeout`?",
    );
}

#[test]
fn values_of_the_wrong_type_are_reported() {
    mistake(
        "\n[key_sets",
        "data_dir = 1\n[key_sets",
        "`data_dir` is text, not a number",
        "put it in quotes",
    );
    mistake(
        "\n[key_sets",
        "server = 1\n[key_sets",
        "`server` is a section, not a number",
        "write it as a section: [server]",
    );
    mistake(
        "kind = \"discard\"",
        "kind = \"discard\"\n[[upstreams.other]]",
        "`other` is a section, not a list",
        "[upstreams.other]",
    );
    mistake(
        "on_connect = [\"auth\"]",
        "on_connect = \"auth\"",
        "`on_connect` is a list of texts, not text",
        "in brackets",
    );
    mistake(
        "on_connect = [\"auth\"]",
        "on_connect = [7]",
        "`on_connect` is text, not a number",
        "put it in quotes",
    );
    mistake(
        "generate = true",
        "generate = \"yes\"",
        "`generate` is true or false, not text",
        "without quotes",
    );
    mistake(
        "config = { key_set = \"main\" }",
        "config = 3",
        "`config` is a section, not a number",
        "[policies.auth.config]",
    );
    in_route(
        "idle_timeout = true",
        "`idle_timeout` is a duration, not true or false",
        "\"50ms\"",
    );
}

#[test]
fn quantities_need_a_sensible_unit() {
    in_route(
        "idle_timeout = 90",
        "`idle_timeout` needs a unit",
        "write \"90ms\" or \"90s\"",
    );
    in_route(
        "idle_timeout = \"90\"",
        "`idle_timeout` needs a unit",
        "write \"90ms\" or \"90s\"",
    );
    in_route(
        "idle_timeout = 1.5",
        "`idle_timeout` needs a unit",
        "write \"1.5ms\" or \"1.5s\"",
    );
    in_route(
        "idle_timeout = \"soon\"",
        "`idle_timeout` cannot be read as a duration",
        "such as \"50ms\"",
    );
    in_route(
        "idle_timeout = \"400days\"",
        "`idle_timeout` is too long",
        "a smaller one",
    );
    in_route(
        "max_message = 5",
        "`max_message` needs a unit",
        "write \"5KiB\" or \"5MiB\"",
    );
    in_route(
        "max_message = \"16M\"",
        "`max_message` cannot be read as a size",
        "such as \"50KiB\"",
    );
}

#[test]
fn amounts_that_make_no_sense_are_refused() {
    for key in [
        "admission_timeout",
        "handshake_timeout",
        "idle_timeout",
        "ping_interval",
        "message_timeout",
        "write_timeout",
        "close_timeout",
    ] {
        in_route(
            &format!("{key} = \"0s\""),
            &format!("`{key}` cannot be zero"),
            "leave",
        );
    }
    for key in ["max_message", "max_outbound", "max_discard"] {
        in_route(
            &format!("{key} = \"0B\""),
            &format!("`{key}` cannot be zero"),
            "leave",
        );
    }
    for key in [
        "timeout = \"0s\"",
        "queue_timeout = \"0s\"",
        "max_memory = \"0B\"",
        "hostcall_fuel = \"0B\"",
    ] {
        in_policy(key, "cannot be zero", "leave");
    }
    mistake(
        "\n[key_sets",
        "[server]\nheader_timeout = \"0s\"\n[key_sets",
        "`header_timeout` cannot be zero",
        "leave",
    );
    in_policy(
        "max_memory = \"513MiB\"",
        "more than the engine has room for",
        "at most \"512MiB\"",
    );
    in_policy(
        "max_table_elements = 65537",
        "more than the engine has room for",
        "at most 65536",
    );
    in_policy(
        "max_instances = 49",
        "more than the engine has room for",
        "at most 48",
    );
}

#[test]
fn a_window_of_frames_is_neither_a_call_for_each_frame_nor_half_a_day() {
    for window in ["99ms", "61m"] {
        in_route(
            &format!("frames_window = \"{window}\""),
            "between 100ms and 1h",
            "a policy call for each stream",
        );
    }
    in_route("frames_kept = 5000", "more than 4096", "still counted");
    in_policy("max_counters = 0", "`max_counters` cannot be 0", "");
}

#[test]
fn zero_is_fine_where_it_means_at_once() {
    let settle = broken(
        "upstream = \"sink\"",
        "upstream = \"sink\"\nsettle = \"0s\"",
    );
    good(&settle);
    good(&format!("{GOOD}\n[server]\ndrain_timeout = \"0s\""));
}

#[test]
fn names_are_fit_for_files_logs_and_attributes() {
    mistake(
        "[upstreams.sink]\n",
        "[upstreams.\"../x\"]\nkind = \"echo\"\n[upstreams.sink]\n",
        "\"../x\" cannot be used as a name",
        "lowercase letters",
    );
    mistake(
        "[policies.rate]\n",
        "[policies.my_rate]\ncomponent = \"builtin:auth\"\n[policies.rate]\n",
        "\"my_rate\" cannot be used as a name",
        "digits and hyphens",
    );
    for fact in ["param", "query", "header"] {
        mistake(
            "[policies.rate]\n",
            &format!("[policies.{fact}]\ncomponent = \"builtin:auth\"\n[policies.rate]\n"),
            &format!("a policy cannot be called \"{fact}\""),
            "comes from the client",
        );
    }
}

#[test]
fn a_listener_is_an_address_and_a_port() {
    mistake(
        "\n[key_sets",
        "[server]\nlisten = \"localhost:80\"\n[key_sets",
        "not an address and a port: \"localhost:80\"",
        "127.0.0.1:8080",
    );
}

#[test]
fn the_admin_listener_is_for_this_machine_unless_it_speaks_tls_and_asks_for_a_token() {
    for address in [
        "0.0.0.0:9180",
        "[::]:9180",
        "10.0.0.1:9180",
        "[::ffff:10.0.0.1]:9180",
    ] {
        mistake(
            "\n[key_sets",
            &format!("[server]\nadmin_listen = \"{address}\"\n[key_sets"),
            "`admin_listen` can be reached from other machines",
            "write a loopback address, such as \"127.0.0.1:9180\" or \"[::1]:9180\"",
        );
    }
    for address in [
        "127.0.0.1:9180",
        "127.8.8.8:9180",
        "[::1]:9180",
        "[::ffff:127.0.0.1]:9180",
    ] {
        let section = format!("[server]\nadmin_listen = \"{address}\"\n[key_sets");
        let config = good(&GOOD.replacen("[key_sets", &section, 1));
        assert_eq!(config.server.admin.listen, Some(address.parse().unwrap()));
    }
}

#[test]
fn listeners_are_named_once_and_there_is_one() {
    let listen = |list: &str, message: &str, help: &str| {
        let server = format!("[server]\nlisten = {list}\n[key_sets");
        mistake("\n[key_sets", &server, message, help);
    };
    let twice = r#"["[::]:80", "127.0.0.1:8080", "[::]:80"]"#;
    listen(twice, "`listen` names [::]:80 twice", "keep one");
    listen("[]", "`listen` is empty", "127.0.0.1:8080");
    listen(
        r#"["nowhere"]"#,
        "not an address and a port",
        "127.0.0.1:8080",
    );
    listen("8080", "`listen` is text, not a number", "quotes");
}

#[test]
fn what_is_no_toml_is_one_mistake_with_its_place() {
    for (text, message) in [
        ("a = 1\na = 2", "`a` is set twice"),
        ("[a]\n[a]", "`a` is defined twice"),
        ("a = foo", "neither a number"),
        ("a = 2026-01-01", "invalid number"),
        ("a = [1,\n", "the file ends in the middle"),
        ("a = \"x", "no closing quote"),
        ("a b", "expected an equals"),
        ("= 1", "expected a table key"),
    ] {
        let report = report(text);
        assert!(report.contains(message), "no {message:?} in\n{report}");
        assert!(
            report.contains("sluice.toml:") && report.contains('^') || report.contains('|'),
            "{report}"
        );
        assert!(load(text).is_err(), "{text:?} is read as TOML");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let report = Config::load(Some(Path::new("/nowhere/sluice.toml")))
        .unwrap_err()
        .to_string();
    assert!(
        report.contains("/nowhere/sluice.toml cannot be read"),
        "{report}"
    );
    assert!(report.contains("--config"), "{report}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latin1.toml");
    std::fs::write(&file, b"a = \"\xe7\"").unwrap();
    let report = Config::load(Some(&file)).unwrap_err().to_string();
    assert!(report.contains("save it as UTF-8"), "{report}");
}
