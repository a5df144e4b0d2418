//! The configuration file: mistakes show before anything is served.

use std::path::PathBuf;

use serde_json::json;
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use tempfile::TempDir;

fn write(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

fn check(text: &str) -> Done {
    let (_folder, file) = write(text);
    command::check(&file)
}

/// Everything that is wrong, each with what must stand in the line it is
/// about, and what the report must say.
fn mistaken() -> (String, Vec<(&'static str, &'static str)>) {
    let config = Config::ingest()
        .set("routes.ingest", "upsteam", json!("recordings"))
        .set("routes.ingest", "on_connect", json!(["auth", "duplicat"]))
        .set("key_sets.other", "secret_file", json!("missing-secret.txt"))
        .set("policies.mine", "component", json!("missing.wasm"))
        .set("policies.duplicate.config", "mode", json!("takeoverr"))
        .set("policies.auth.config", "key_set", json!("nobody"))
        .set("routes.echo", "idle_timeout", json!(5));
    let mistakes = vec![
        ("upsteam = ", "upsteam"),
        ("on_connect = ", "duplicat"),
        ("secret_file = ", "missing-secret.txt"),
        ("component = \"missing.wasm\"", "missing.wasm"),
        ("key_set = ", "nobody"),
        ("mode = ", "`mode` cannot be \"takeoverr\""),
        ("idle_timeout = ", "5s"),
    ];
    (config.to_string(), mistakes)
}

#[test]
fn all_mistakes_are_reported_together_each_with_its_line() {
    let (text, mistakes) = mistaken();
    let done = check(&text);
    assert!(done.status.is_some_and(|status| status != 0), "{done:?}");
    let report = format!("{}{}", done.stdout, done.stderr);
    for (start, said) in mistakes {
        assert!(report.contains(said), "{said} in:\n{report}");
        assert_points_at(&report, &text, start);
    }
}

/// The report names the line of the file that starts so.
fn assert_points_at(report: &str, text: &str, start: &str) {
    let line = text.lines().position(|line| line.starts_with(start));
    let line = line.expect("the mistake is there") + 1;
    assert!(
        report.contains(&format!("sluice.toml:{line}:")),
        "line {line} ({start}) in:\n{report}"
    );
}

#[test]
fn what_a_policy_dislikes_is_reported_with_its_line() {
    let config = Config::ingest().set("policies.duplicate.config", "mode", json!("takeoverr"));
    let config = config
        .set("policies.sample-rate.config", "rates", json!([0]))
        .to_string();
    let done = check(&config);
    assert!(done.status.is_some_and(|status| status != 0), "{done:?}");
    let report = format!("{}{}", done.stdout, done.stderr);
    for (start, said) in [("mode = ", "takeoverr"), ("rates = ", "rates")] {
        assert!(report.contains(said), "{said} in:\n{report}");
        assert_points_at(&report, &config, start);
    }
}

/// What a gateway prints that does not start.
fn fails_to_serve(config: &str, listen: &str) -> command::Done {
    let (folder, file) = write(config);
    let mut serve = command::sluice(&["serve", "--listen", listen, "--config"]);
    let data = folder.path().join("data");
    let done = command::run(serve.arg(file).arg("--data-dir").arg(data));
    assert!(done.status.is_some_and(|status| status != 0), "{done:?}");
    done
}

#[test]
fn a_gateway_does_not_start_with_a_mistake() {
    let (text, _) = mistaken();
    let done = fails_to_serve(&text, "127.0.0.1:0");
    let report = format!("{}{}", done.stdout, done.stderr);
    assert!(
        report.contains("upsteam") && !report.contains("listening"),
        "{report}"
    );
}

#[test]
fn a_good_configuration_is_said_to_be_good() {
    let done = check(&Config::ingest().to_string());
    assert_eq!(done.status, Some(0), "{done:?}");
    assert_ne!(done.stdout + &done.stderr, "");
}

#[test]
fn the_example_is_good() {
    let example = command::root().join("host/sluice.example.toml");
    let done = command::run(command::sluice(&["check", "--config"]).arg(example));
    assert_eq!(done.status, Some(0), "{done:?}");
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere.toml");
    let done = command::check(&missing);
    assert!(
        done.status.is_some_and(|status| status != 0) && done.stderr.contains("nowhere.toml"),
        "{done:?}"
    );
    let done = check("[server\nlisten = 1");
    assert!(done.status.is_some_and(|status| status != 0), "{done:?}");
    assert!(
        format!("{}{}", done.stdout, done.stderr).contains("sluice.toml:1:"),
        "{done:?}"
    );
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let done = fails_to_serve(&Config::ingest().to_string(), &address);
    assert!(
        format!("{}{}", done.stdout, done.stderr).contains(&address),
        "{done:?}"
    );
}

#[test]
fn a_configuration_is_read_as_people_save_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    let text = Config::open().to_string();
    let utf16 = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{feff}{text}")
            .encode_utf16()
            .flat_map(unit)
            .collect()
    };
    for bytes in [
        format!("\u{feff}{text}").into_bytes(),
        text.replace('\n', "\r\n").into_bytes(),
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let done = command::check(&file);
        assert_eq!(done.status, Some(0), "{done:?}");
    }
    for (bytes, said) in [
        (b"# \xe7\n".to_vec(), "line 1 has the byte 0xE7"),
        (
            utf16(u16::to_le_bytes)[2..].to_vec(),
            "it is UTF-16 without a byte order mark",
        ),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let done = command::check(&file);
        assert_eq!(done.status, Some(1), "{done:?}");
        let words: Vec<&str> = done.stderr.split_whitespace().collect();
        let report = words.join(" ").replace("| ", "");
        assert!(report.contains(said), "{said} in {report}");
    }
}

#[test]
fn a_file_of_cases_may_begin_with_a_byte_order_mark() {
    let (folder, file) = write(&Config::ingest().to_string());
    let cases = folder.path().join("cases.toml");
    let text = "\u{feff}[[case]]\nname = \"nobody\"\nexpect = { reject = \"auth_failed\" }\n";
    std::fs::write(&cases, text).unwrap();
    let mut kit = command::sluice(&["policy", "test", "--policy", "auth", "--config"]);
    let done = command::run(kit.arg(file).arg(cases).current_dir(folder.path()));
    assert!(done.stdout.contains("1 passed, 0 failed"), "{done:?}");
}

#[test]
fn what_has_no_effect_is_a_warning_with_its_line_and_no_mistake() {
    let config = Config::open()
        .set("upstreams.spare", "kind", json!("echo"))
        .set("routes.echo", "rate_per", json!("2m"));
    let text = config.to_string();
    let done = check(&text);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(done.stdout.starts_with("fine: "), "{done:?}");
    for said in [
        "no route streams to the upstream `spare`",
        "`rate_per` has no effect",
        "2 warnings in the configuration",
    ] {
        assert!(done.stderr.contains(said), "{said} in {}", done.stderr);
    }
    assert_points_at(&done.stderr, &text, "rate_per");
    assert_eq!(check(&Config::open().to_string()).stderr, "");
}

#[test]
fn what_a_component_does_not_use_is_a_warning_with_its_line() {
    let grants = json!(["jwt", "counters", "credentials"]);
    let config = Config::ingest().set("policies.auth", "grants", grants).set(
        "policies.auth",
        "wasi",
        json!("stub"),
    );
    let text = config.to_string();
    let done = check(&text);
    assert_eq!(done.status, Some(0), "{done:?}");
    for said in [
        "policy \"auth\" is granted `counters`",
        "`wasi = \"stub\"` of policy \"auth\" has no effect",
        "2 warnings in the configuration",
    ] {
        assert!(done.stderr.contains(said), "{said} in {}", done.stderr);
    }
    assert_points_at(&done.stderr, &text, "grants = [\"jwt\",\"counters\"");
    assert_eq!(check(&Config::ingest().to_string()).stderr, "");
}

#[test]
fn a_hook_that_no_route_names_is_a_warning_with_the_list_that_could() {
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/v0.1.0");
    let config = Config::ingest()
        .set(
            "policies.often",
            "component",
            json!(format!("{guests}/rate-limit.wasm")),
        )
        .set("policies.often", "grants", json!(["counters"]))
        .set("policies.often.config", "attempts", json!(5))
        .set("policies.often.config", "per", json!("1m"));
    let with = |lists: &[(&str, serde_json::Value)]| {
        let set = |config: Config, (list, names): &(&str, _)| {
            config.set("routes.ingest", list, serde_json::Value::clone(names))
        };
        check(&lists.iter().fold(config.clone(), set).to_string())
    };
    let connect = ("on_connect", json!(["auth", "often"]));
    let done = with(std::slice::from_ref(&connect));
    assert_eq!(done.status, Some(0), "{done:?}");
    let said = "policy \"often\" has the hook on-close, and no route names it in `on_close`";
    assert!(done.stderr.contains(said), "{}", done.stderr);
    let done = with(&[connect, ("on_close", json!(["often"]))]);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(!done.stderr.contains("hook"), "{}", done.stderr);
    // One that is asked nowhere has a warning already.
    let done = with(&[]);
    assert!(
        done.stderr.contains("policy `often` is never called"),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("hook"), "{}", done.stderr);
}

#[test]
fn a_policy_is_named_where_it_has_a_hook() {
    for list in ["on_handshake", "on_frames", "on_close"] {
        let config = Config::ingest().set("routes.ingest", list, json!(["auth"]));
        let text = config.to_string();
        let done = check(&text);
        assert_eq!(done.status, Some(1), "{done:?}");
        let hook = format!("policy \"auth\" has no hook {}", list.replace('_', "-"));
        assert!(done.stderr.contains(&hook), "{hook} in {}", done.stderr);
        assert_points_at(&done.stderr, &text, list);
    }
}
