//! `sluice config`: the schema of the configuration, and what a reload would change.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;

fn schema() -> Value {
    let done = command::run(&mut command::sluice(&["config", "schema"]));
    assert_eq!((done.status, &*done.stderr), (Some(0), ""), "{done:?}");
    serde_json::from_str(&done.stdout).expect("JSON")
}

/// A TOML text as JSON, by Python's reader.
fn json_of(toml: &str) -> Value {
    let script = "import json, sys, tomllib; print(json.dumps(tomllib.loads(sys.stdin.read())))";
    let python = command::root().join("tests/.venv/bin/python");
    let text = piped(Command::new(python).args(["-c", script]), toml);
    serde_json::from_str(&text).expect("JSON")
}

/// What another implementation of JSON Schema says about these configurations.
fn verdicts(configs: &[Value]) -> Vec<Value> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), schema().to_string()).unwrap();
    let mut node = Command::new("node");
    let validator = command::root().join("tests/schema.mjs");
    let text = piped(
        node.arg(validator).arg(file.path()),
        &json!(configs).to_string(),
    );
    serde_json::from_str(&text).expect("JSON")
}

/// Runs a command with this standard input, and returns its output.
fn piped(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command starts");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_schema_takes_what_the_gateway_takes() {
    let example = |name: &str| fs::read_to_string(command::root().join("host").join(name)).unwrap();
    let configs = [
        example("sluice.example.toml"),
        example("sluice.default.toml"),
        Config::ingest().to_string(),
        Config::open()
            .set("server", "listen", json!(["127.0.0.1:0", "[::1]:0"]))
            .set("server", "max_memory", json!("0B"))
            .to_string(),
    ];
    let verdicts = verdicts(&configs.each_ref().map(|text| json_of(text)));
    for (text, verdict) in configs.iter().zip(verdicts) {
        assert_eq!(verdict["valid"], true, "{verdict} about {text}");
    }
}

#[test]
fn the_schema_refuses_what_the_gateway_refuses() {
    let config = |section: &str, key: &str, value: Value| Config::ingest().set(section, key, value);
    let broken = [
        (config("server", "max_conections", json!(1)), "/server"),
        (
            config("sever", "listen", json!("127.0.0.1:1")),
            " must NOT have additional",
        ),
        (config("server", "watch", json!("yes")), "/server/watch"),
        (
            config("server", "max_connections", json!(0)),
            "/server/max_connections",
        ),
        (
            config("server", "max_connections", json!("9")),
            "/server/max_connections",
        ),
        (
            config("server", "header_timeout", json!(5)),
            "/server/header_timeout",
        ),
        (
            config("server", "header_timeout", json!("5")),
            "/server/header_timeout",
        ),
        (
            config("server", "max_memory", json!("16M")),
            "/server/max_memory",
        ),
        (config("server", "listen", json!([])), "/server/listen"),
        (
            config("upstreams.mirror", "kind", json!("ehco")),
            "/upstreams/mirror/kind",
        ),
        (
            config("policies.auth", "grants", json!(["jtw"])),
            "/policies/auth/grants/0",
        ),
        (
            config("routes.echo", "paths", json!("/echo")),
            "/routes/echo/paths",
        ),
        (
            Config::ingest().without("routes.echo", "upstream"),
            "/routes/echo must have",
        ),
        (
            Config::ingest().without("policies.auth", "component"),
            "/policies/auth must have",
        ),
    ];
    let texts = broken.each_ref().map(|(config, _)| config.to_string());
    let verdicts = verdicts(&texts.each_ref().map(|text| json_of(text)));
    for ((text, (_, place)), verdict) in texts.iter().zip(&broken).zip(verdicts) {
        let errors = verdict["errors"].to_string();
        assert_eq!(verdict["valid"], false, "{text}");
        assert!(errors.contains(place), "{place} in {errors}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sluice.toml");
        fs::write(&file, text).unwrap();
        let done = command::check(&file);
        assert_eq!(done.status, Some(1), "{text}");
    }
}

#[test]
fn the_schema_explains_each_option_and_shows_its_default() {
    let schema = schema();
    let server = &schema["properties"]["server"]["properties"];
    assert_eq!(server["header_timeout"]["default"], "5s", "{server}");
    let says = server["header_timeout"]["description"].as_str().unwrap();
    assert!(says.starts_with("How long a client may take"), "{says}");
    let unexplained = |properties: &Value| {
        let properties = properties.as_object().unwrap().iter();
        let without = properties.filter(|(_, option)| option["description"].is_null());
        without.map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(unexplained(server), [""; 0]);
}

fn write(folder: &Path, name: &str, config: &Config) {
    fs::write(folder.join(name), config.to_string()).unwrap();
}

#[test]
fn two_files_differ_in_options_that_are_named_and_not_shown() {
    const HUSH: &str = "0123456789abcdef0123456789abcdef";
    let folder = tempfile::tempdir().unwrap();
    let old = Config::ingest();
    let new = Config::ingest()
        .set("key_sets.main", "secret", json!(HUSH))
        .set("server", "drain_timeout", json!("7s"))
        .set("policies.duplicate.config", "mode", json!("takeover"))
        .set("routes.more", "paths", json!(["/more"]))
        .set("routes.more", "upstream", json!("mirror"))
        .without("key_sets.main", "issuers");
    write(folder.path(), "old.toml", &old);
    write(folder.path(), "new.toml", &new);
    let diff = |files: [&str; 2]| {
        let files = files.map(|file| folder.path().join(file));
        let done = command::run(command::sluice(&["config", "diff", "--json"]).args(files));
        assert_eq!((done.status, &*done.stderr), (Some(0), ""), "{done:?}");
        assert!(!done.stdout.contains(HUSH), "{done:?}");
        serde_json::from_str::<Value>(&done.stdout).expect("JSON")
    };
    let there = diff(["old.toml", "new.toml"]);
    let added = json!(["[policies.duplicate.config]", "[routes.more]", "[server]"]);
    assert_eq!(there["added"], added, "{there}");
    assert_eq!(
        there["removed"],
        json!(["[key_sets.main] issuers"]),
        "{there}"
    );
    assert_eq!(
        there["changed"],
        json!(["[key_sets.main] secret"]),
        "{there}"
    );
    assert_eq!(there["needs_restart"], json!(["drain_timeout"]), "{there}");
    let back = diff(["new.toml", "old.toml"]);
    assert_eq!(
        (&back["removed"], &back["changed"]),
        (&added, &there["changed"])
    );
    let same = [
        folder.path().join("old.toml"),
        folder.path().join("old.toml"),
    ];
    let done = command::run(command::sluice(&["config", "diff"]).args(same));
    assert_eq!(done.stdout.trim_end(), "nothing differs");
}

#[test]
fn a_gateway_tells_what_a_reload_would_change_and_changes_nothing() {
    let config = Config::open()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "watch", json!(false));
    let gateway = Gateway::start(&config);
    let diff = || {
        let address = gateway.admin_address().to_string();
        let done = command::run(command::sluice(&["config", "diff"]).args(["--admin", &address]));
        assert_eq!((done.status, &*done.stderr), (Some(0), ""), "{done:?}");
        done.stdout
    };
    assert_eq!(diff().trim_end(), "nothing differs");
    let changed = config
        .clone()
        .set("routes.echo", "idle_timeout", json!("7s"))
        .set("server", "drain_timeout", json!("7s"));
    gateway.replace("sluice.toml", changed.to_string());
    let text = diff();
    for part in [
        "[routes.echo] idle_timeout",
        "[server] drain_timeout",
        "needs a restart  drain_timeout",
        "sluice.toml",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(gateway.metric("sluice_generation"), 1.0);
    gateway.replace("sluice.toml", "[routes");
    assert!(diff().contains("refused"), "{}", diff());
    gateway.replace("sluice.toml", changed.to_string());
    assert_eq!(gateway.admin("POST /reload").0, 200);
    // What needs a restart is still to come.
    let text = diff();
    assert!(
        !text.contains("idle_timeout") && text.contains("needs a restart"),
        "{text}"
    );
}
