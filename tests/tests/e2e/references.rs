//! What policies declare that their options refer to: `sluice check`, the start of a gateway and a
//! reload look for it.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::json;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::{eventually, token};

const GUEST: &str = include_str!("../../guests/references.wat");

/// A policy that nobody here knows: what it declares is all that the gateway has to go by.
#[derive(Default)]
struct Guest {
    texts: String,
    calls: String,
}

impl Guest {
    /// Has it call a function of `references` with these texts.
    fn calls(mut self, function: &str, texts: &[&str]) -> Self {
        self.calls += &format!("(call ${function}");
        for text in texts {
            let (from, length) = (1024 + self.texts.len(), text.len());
            self.calls += &format!(" (i32.const {from}) (i32.const {length})");
            self.texts += text;
        }
        self.calls += ")\n";
        self
    }

    fn build(&self) -> Vec<u8> {
        let text = GUEST
            .replace("DATA", &self.texts.replace('\u{1b}', "\\1b"))
            .replace("VALIDATE", &self.calls)
            .replace("DECIDE", "");
        wat::parse_str(text).expect("a component")
    }
}

/// The main job with the guest between its policies.
fn config() -> Config {
    Config::ingest()
        .set("policies.mine", "component", json!("mine.wasm"))
        .set("policies.mine.config", "keys", json!("main"))
        .set("policies.mine.config", "count", json!(["x", "y"]))
        .set(
            "routes.ingest",
            "on_connect",
            json!(["auth", "mine", "duplicate"]),
        )
}

fn check(config: &Config, guest: &Guest) -> (Done, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file: PathBuf = folder.path().join("sluice.toml");
    let text = config.to_string();
    std::fs::write(&file, &text).expect("a file");
    std::fs::write(folder.path().join("mine.wasm"), guest.build()).expect("a file");
    let done = command::check(&file);
    (done, text)
}

/// `check` refuses this configuration for one mistake: it says all of `parts`, and points at the
/// line that begins with `line`.
#[track_caller]
fn mistake(config: &Config, guest: &Guest, line: &str, parts: &[&str]) {
    let (done, text) = check(config, guest);
    assert_eq!(done.status, Some(1), "{done:?}");
    reports(&done.stderr, &text, line, parts);
    assert!(
        done.stderr.contains("1 mistake in the configuration"),
        "{}",
        done.stderr
    );
}

#[track_caller]
fn reports(report: &str, text: &str, line: &str, parts: &[&str]) {
    let number = text.lines().position(|other| other.starts_with(line));
    let number = number.expect("the line is there") + 1;
    let place = format!("sluice.toml:{number}:");
    assert!(report.contains(&place), "{place} is not in\n{report}");
    // The report is folded to a width, with bars beside it.
    let words: Vec<_> = report
        .split_whitespace()
        .filter(|word| *word != "|")
        .collect();
    let report = words.join(" ");
    for part in parts {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
}

#[test]
fn a_key_set_that_is_not_there_is_reported_for_any_policy() {
    let guest = Guest::default().calls("key-set", &["/keys", "mian"]);
    mistake(
        &config().set("policies.mine.config", "keys", json!("mian")),
        &guest,
        "keys = ",
        &[
            "there is no key set called \"mian\"",
            "did you mean \"main\"?",
        ],
    );
    mistake(
        &Config::ingest().set("policies.auth.config", "key_set", json!("mian")),
        &Guest::default(),
        "key_set = ",
        &["there is no key set called \"mian\""],
    );
}

#[test]
fn a_path_parameter_that_is_not_there_is_reported_for_any_policy() {
    let guest = Guest::default().calls("param", &["/count/1", "room"]);
    mistake(
        &config(),
        &guest,
        "count = ",
        &[
            "[policies.mine] needs the path parameter `room`, and [routes.ingest] has a path",
            "no such parameter",
        ],
    );
    let key = json!(["param.room", "query.source"]);
    mistake(
        &Config::ingest().set("policies.duplicate.config", "key", key),
        &Guest::default(),
        "key = ",
        &["[policies.duplicate] needs the path parameter `room`"],
    );
}

#[test]
fn an_attribute_that_nobody_leaves_in_time_is_reported_for_any_policy() {
    let needs = |name| Guest::default().calls("attribute", &["/count/0", name]);
    mistake(
        &config(),
        &needs("auth.mail"),
        "count = ",
        &[
            "[policies.mine] needs `auth.mail`, which no policy leaves",
            "`auth.email`, `auth.user_id`, `auth.tenant_id`",
        ],
    );
    let late = json!(["mine", "auth", "duplicate"]);
    mistake(
        &config().set("routes.ingest", "on_connect", late),
        &needs("auth.email"),
        "count = ",
        &[
            "in [routes.ingest] no policy \"auth\" is asked before it",
            "put \"auth\" before \"mine\"",
        ],
    );
    let leaves = Guest::default().calls("leaves", &["room"]);
    mistake(
        &config().set("policies.duplicate.config", "key", json!(["mine.rom"])),
        &leaves,
        "key = ",
        &[
            "[policies.duplicate] needs `mine.rom`, which no policy leaves",
            "there are: `mine.room`",
        ],
    );
    // The default key of the duplicate policy is no word of the operator's.
    let alone = Config::ingest().set("routes.ingest", "on_connect", json!(["duplicate"]));
    let (done, _) = check(&alone, &leaves);
    assert_eq!(done.status, Some(0), "{done:?}");
}

#[test]
fn an_upstream_is_told_what_policies_declare_to_leave() {
    let leaves = Guest::default().calls("leaves", &["room"]);
    let relayed = |attribute: &str| {
        config()
            .set("upstreams.recordings", "kind", json!("websocket"))
            .set("upstreams.recordings", "url", json!("ws://127.0.0.1:9/x"))
            .set("upstreams.recordings", "attributes", json!([attribute]))
    };
    let (done, _) = check(&relayed("mine.room"), &leaves);
    assert_eq!(done.status, Some(0), "{done:?}");
    mistake(
        &relayed("mine.rom"),
        &leaves,
        "[upstreams.recordings]",
        &["[upstreams.recordings] needs `mine.rom`, which no policy leaves"],
    );
    mistake(
        &relayed("auth.user_id").set("upstreams.recordings", "tenant", json!("auth.tenant")),
        &leaves,
        "[upstreams.recordings]",
        &["never tells the `tenant`: \"auth\" leaves no `auth.tenant`"],
    );
}

#[test]
fn an_option_without_effect_is_a_warning_for_any_policy() {
    let guest = Guest::default().calls(
        "no-effect",
        &["/keys", "it is a test\u{1b}[31m", "leave it out"],
    );
    let (done, text) = check(&config(), &guest);
    assert_eq!(done.status, Some(0), "{done:?}");
    reports(
        &done.stderr,
        &text,
        "keys = ",
        &["`keys` has no effect: it is a test", "leave it out"],
    );
    assert!(!done.stderr.contains('\u{1b}'), "{}", done.stderr);
    for (option, value) in [("same_user", "reject"), ("user", "auth.email")] {
        let config = Config::ingest()
            .set("policies.duplicate.config", "mode", json!("takeover"))
            .set("policies.duplicate.config", option, json!(value));
        let (done, text) = check(&config, &guest);
        assert_eq!(done.status, Some(0), "{done:?}");
        let said = format!("`{option}` has no effect");
        reports(&done.stderr, &text, &format!("{option} = "), &[&said]);
    }
}

#[test]
fn a_policy_whose_references_are_all_there_is_served() {
    let guest = Guest::default()
        .calls("key-set", &["/keys", "main"])
        .calls("param", &["/count/0", "meeting_id"])
        .calls("attribute", &["/count/1", "auth.user_id"])
        .calls("leaves", &["room"]);
    let gateway = Gateway::start_with_files(&config(), &[("mine.wasm", &guest.build())]);
    let path = meeting("m1", "mic", &token::good());
    let mut client = Client::connect(Library::Ws, &gateway, &path);
    client.handshake();
    client.expect_ack();
}

#[test]
fn a_wrong_reference_refuses_a_start_and_a_reload() {
    let config = config().set("server", "admin_listen", json!("127.0.0.1:0"));
    let wrong = Guest::default().calls("key-set", &["/keys", "mian"]);
    let right = Guest::default().calls("key-set", &["/keys", "main"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, config.to_string()).expect("a file");
    std::fs::write(folder.path().join("mine.wasm"), wrong.build()).expect("a file");
    let done = command::run(command::sluice(&["serve", "--config"]).arg(file));
    assert_eq!(done.status, Some(1), "{done:?}");
    let no_key_set = r#"there is no key set called \"mian\""#;
    assert!(done.stderr.contains(no_key_set), "{done:?}");

    let gateway = Gateway::start_with_files(&config, &[("mine.wasm", &right.build())]);
    gateway.replace("mine.wasm", wrong.build());
    gateway.signal(Signal::HUP);
    eventually("the refusal in the log", || {
        let output = gateway.output().text();
        output.contains("there is no key set called").then_some(())
    });
    let path = meeting("m1", "mic", &token::good());
    let mut client = Client::connect(Library::Ws, &gateway, &path);
    client.handshake();
    client.expect_ack();
}
