//! Recorded decisions, made again: from the real gateway's record, with the
//! same policies and with others.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::guest::{example, with_policy};
use sluice_tests::{eventually, token};

const WATCH: &str = "silence-or-too-fast";

/// The main job with two examples beside it, recorded in small files.
fn recording() -> Config {
    let config = with_policy(
        Config::ingest(),
        "rate-limit",
        &example("rate-limit"),
        &["counters"],
    );
    with_policy(config, WATCH, &example(WATCH), &["counters"])
        .set("decisions", "file", json!("decisions.jsonl"))
        .set("policies.rate-limit.config", "attempts", json!(2))
        .set("policies.rate-limit.config", "count", json!("refused"))
        .set("policies.rate-limit.config", "key", json!(["auth.user_id"]))
        .set(
            "routes.ingest",
            "on_connect",
            json!(["auth", "rate-limit", "duplicate"]),
        )
        .set("routes.ingest", "on_frames", json!([WATCH]))
        .set("routes.ingest", "on_close", json!(["rate-limit"]))
        .limit("frames_window", "100ms")
}

/// What a gateway recorded, and the configuration that it did it with.
struct Recorded {
    folder: tempfile::TempDir,
    config: Config,
}

impl Recorded {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replays the record with a configuration.
    fn replay_with(&self, config: &Config, args: &[&str]) -> Done {
        let file = self.path("replay.toml");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut replay = command::sluice(&["policy", "replay", "decisions.jsonl", "--config"]);
        replay.arg(&file).args(args);
        command::run(replay.current_dir(self.folder.path()))
    }

    fn replay(&self, args: &[&str]) -> Done {
        self.replay_with(&self.config, args)
    }

    fn lines(&self, policy: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("decisions.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &Value| line["policy"] == policy)
            .collect()
    }
}

/// Streams some audio, until a policy has looked at it.
fn stream(gateway: &Gateway, token: &str, file: &Path) {
    let mut client = Client::connect(Library::Ws, gateway, &meeting("m1", "mic", token));
    client.handshake();
    let session = client.expect_ack();
    client.send_audio(&[1; 6400]);
    eventually("a decision about a window", || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut lines = text.lines();
        let seen = |line: &str| line.contains(WATCH) && line.contains(&session);
        lines.any(seen).then_some(())
    });
    client.finalize(6400, 200);
    gateway.connection_log(&session);
}

/// Lets clients come that are let in, and others that every policy refuses.
fn record() -> Recorded {
    let config = recording();
    let mut gateway = Gateway::start(&config);
    let file = gateway.data().join("decisions.jsonl");
    let good = token::good();
    stream(&gateway, &good, &file);
    // The same user again: takes the place of the first.
    let path = meeting("m1", "mic", &good);
    let mut first = Client::connect(Library::Ws, &gateway, &path);
    first.handshake();
    first.expect_ack();
    let mut second = Client::connect(Library::Ws, &gateway, &path);
    first.expect_refusal(4003, "superseded");
    second.handshake();
    second.expect_ack();
    // Another one, who may not.
    let other = meeting("m1", "mic", &token::of_user("other"));
    let mut client = Client::connect(Library::Ws, &gateway, &other);
    client.expect_refusal(4002, "ingest_exists");
    second.finalize(0, 0);
    let expired = token::sign(&token::claims_with(json!({"exp": token::now() - 600})));
    let mut client = Client::connect(Library::Ws, &gateway, &meeting("m2", "mic", &expired));
    client.expect_refusal(4001, "auth_failed");
    for (n, word) in [
        "invalid_sample_rate",
        "invalid_sample_rate",
        "too_many_attempts",
    ]
    .into_iter()
    .enumerate()
    {
        let path = meeting(&format!("n{n}"), "sys", &token::of_user("wrong"));
        let mut client = Client::connect(Library::Ws, &gateway, &path);
        client.json(&json!({"type": "handshake", "sample_rate": 8000, "device_id": "d"}));
        let code = if n < 2 { 4000 } else { 4129 };
        client.expect_refusal(code, word);
    }
    gateway.signal(Signal::TERM);
    gateway.wait();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(file, folder.path().join("decisions.jsonl")).unwrap();
    Recorded { folder, config }
}

#[test]
fn the_same_policies_decide_the_same_again() {
    let recorded = record();
    for (policy, refusal) in [
        ("auth", Some("auth_failed")),
        ("rate-limit", Some("too_many_attempts")),
        ("duplicate", Some("ingest_exists")),
        ("sample-rate", Some("invalid_sample_rate")),
        (WATCH, None),
    ] {
        let lines = recorded.lines(policy);
        let refused: Vec<_> = lines
            .iter()
            .filter_map(|line| line["code"].as_str())
            .collect();
        assert_eq!(refused.first().copied(), refusal, "{policy}");
        assert!(lines.len() > refused.len(), "{policy} lets nobody in");
        let done = recorded.replay(&["--policy", policy]);
        assert_eq!(done.status, Some(0), "{policy}: {done:?}");
        // A call that is under way when its connection ends is no decision.
        let decided = |line: &&Value| line["verdict"] != "abandoned";
        let decided = lines.iter().filter(decided).count();
        for told in [
            format!("decided     {decided} again: {decided} the same, 0 different\n"),
            "undecided   0".to_owned(),
        ] {
            assert!(done.stdout.contains(&told), "{policy}: {done:?}");
        }
    }
    // Who evicted and who was counted is in it, and was asked for again.
    for (policy, call) in [("duplicate", "sessions.evict"), ("rate-limit", "counters")] {
        let lines = recorded.lines(policy);
        let mut calls = lines
            .iter()
            .flat_map(|line| line["calls"].as_array().unwrap());
        assert!(calls.any(|made| made["call"] == call), "{policy}");
    }
}

#[test]
fn what_was_decided_is_a_case_that_the_same_policy_passes_and_another_fails() {
    let recorded = record();
    let config = recorded.path("test.toml");
    std::fs::write(&config, recorded.config.to_string()).unwrap();
    let case = |policy: &str, word: &str| {
        let lines = recorded.lines(policy);
        let decided = lines.iter().find(|line| {
            line["code"] == word || line["verdict"] == word && line["stage"] != "close"
        });
        let session = decided.expect("a decision")["session"].clone();
        let args = ["policy", "case", "decisions.jsonl", "--policy", policy];
        let mut print = command::sluice(&args);
        print.args(["--session", session.as_str().unwrap()]);
        let printed = command::run(print.current_dir(recorded.folder.path()));
        assert_eq!(printed.status, Some(0), "{printed:?}");
        let file = recorded.path("incident.toml");
        std::fs::write(&file, &printed.stdout).unwrap();
        let mut test = command::sluice(&["policy", "test", "incident.toml", "--policy", policy]);
        test.arg("--config").arg(&config);
        let done = command::run(test.current_dir(recorded.folder.path()));
        (printed, done)
    };
    for (policy, word) in [
        ("auth", "auth_failed"),
        ("auth", "accept"),
        ("duplicate", "ingest_exists"),
        ("duplicate", "accept"),
        ("sample-rate", "invalid_sample_rate"),
        ("rate-limit", "too_many_attempts"),
    ] {
        let (printed, done) = case(policy, word);
        assert_eq!(
            done.status,
            Some(0),
            "{policy}, {word}: {done:?}\n{printed:?}"
        );
    }
    // It is a test: another configuration fails it.
    let other = recorded.config.clone();
    let other = other.set("policies.sample-rate.config", "rates", json!([8000]));
    std::fs::write(&config, other.to_string()).unwrap();
    let (_, done) = case("sample-rate", "invalid_sample_rate");
    assert_eq!(done.status, Some(1), "{done:?}");
    let args = ["policy", "case", "decisions.jsonl", "--session", "nobody"];
    let none = command::run(command::sluice(&args).current_dir(recorded.folder.path()));
    assert_eq!(none.status, Some(1), "{none:?}");
    assert!(none.stderr.contains("\"nobody\""), "{none:?}");
}

#[test]
fn what_other_policies_decide_is_shown_where_it_is_different() {
    let recorded = record();
    let other = |section: &str, key: &str, value: Value| {
        recorded
            .config
            .clone()
            .set(&format!("policies.{section}.config"), key, value)
    };
    for (policy, config, now) in [
        (
            "auth",
            other("auth", "required_claims", json!(["user_id", "badge"])),
            "now reject auth_failed (4001) \"auth failed: missing claim badge\"",
        ),
        (
            "duplicate",
            other("duplicate", "same_user", json!("reject")),
            "accept -> reject ingest_exists: 1",
        ),
        (
            "sample-rate",
            other("sample-rate", "rates", json!([8000])),
            "now reject invalid_sample_rate (4000)",
        ),
        (
            "rate-limit",
            other("rate-limit", "attempts", json!(3)),
            "was reject too_many_attempts (4129)",
        ),
        (
            WATCH,
            other(WATCH, "burst", json!(64)),
            "now reject too_fast (4109)",
        ),
    ] {
        let done = recorded.replay_with(&config, &["--policy", policy]);
        assert_eq!(done.status, Some(1), "{policy}: {done:?}");
        assert!(done.stdout.contains(now), "{policy}: {done:?}");
    }
    let of_auth = recorded.lines("auth");
    let reads = |line: &&Value| line["verdict"] == "accept";
    let different = of_auth.iter().filter(reads).count();
    let config = other("auth", "required_claims", json!(["badge"]));
    let done = recorded.replay_with(&config, &["--policy", "auth", "--json"]);
    let told: Vec<Value> = done
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // An expired token is refused as before, and nobody else is let in.
    let mut summary = told.last().unwrap()["summary"].clone();
    let groups = summary.as_object_mut().unwrap().remove("groups");
    let group = &groups.expect("groups")["accept -> reject auth_failed"];
    assert_eq!(group["count"], different, "{group}");
    assert_eq!(group["examples"][0], of_auth[0]["session"], "{group}");
    assert_eq!(
        summary,
        json!({"same": of_auth.len() - different, "different": different, "undecided": 0, "passed_over": {}, "secrets": {}})
    );
    assert_eq!(told.len(), different + 1);
    assert_eq!(told[0]["session"], of_auth[0]["session"]);
    assert_eq!(told[0]["time"], of_auth[0]["time"]);
    assert_eq!(
        (&told[0]["stage"], &told[0]["was"]["verdict"]),
        (&json!("connect"), &json!("accept"))
    );
}

#[test]
fn another_component_decides_in_the_place_of_the_one_that_did() {
    let recorded = record();
    let guest = |body: &str| {
        let text = include_str!("../../guests/connect.wat").replace("BODY", body);
        std::fs::write(recorded.path("new.wasm"), wat::parse_str(text).unwrap()).unwrap();
        recorded.replay(&["--policy", "auth", "--component", "new.wasm"])
    };
    // Lets in whoever comes: the one with the expired token too.
    let lenient = guest("(call $drop (local.get 0)) (i32.const 0)");
    assert_eq!(lenient.status, Some(1), "{lenient:?}");
    assert!(
        lenient.stdout.contains("was reject auth_failed (4001)")
            && lenient.stdout.contains("now accept")
            && lenient.stdout.contains(", 1 different"),
        "{lenient:?}"
    );
    let broken = guest("(unreachable)");
    assert!(
        broken.stdout.contains("now failed, trap: it trapped")
            && broken.stdout.contains(": 0 the same"),
        "{broken:?}"
    );
}

#[test]
fn what_the_record_does_not_have_is_no_agreement() {
    let recorded = record();
    // Nobody had asked who holds this key, nor how many come in two minutes.
    for (policy, key, value, told) in [
        (
            "duplicate",
            "key",
            json!(["route"]),
            "it calls sessions.claim of \"[\"ingest\"]\", which is not recorded",
        ),
        (
            "duplicate",
            "key",
            json!(["header.sec-websocket-key"]),
            "it looks at what is withheld: [withheld] header sec-websocket-key",
        ),
        (
            "rate-limit",
            "per",
            json!("2m"),
            "for 120000 ms, which is not recorded",
        ),
    ] {
        let section = format!("policies.{policy}.config");
        let config = recorded.config.clone().set(&section, key, value);
        let done = recorded.replay_with(&config, &["--policy", policy]);
        assert_eq!(done.status, Some(0), "{done:?}");
        assert!(done.stdout.contains(told), "{told}: {done:?}");
        assert!(done.stdout.contains(", 0 different"), "{done:?}");
        if policy == "duplicate" {
            let undecided = format!("undecided   {}", recorded.lines(policy).len());
            assert!(done.stdout.ends_with(&undecided), "{undecided}: {done:?}");
            assert!(done.stdout.contains("0 again: 0 the same"), "{done:?}");
        }
    }
}

#[test]
fn what_was_no_decision_is_passed_over_and_what_is_no_record_is_named() {
    let guest = include_str!("../../guests/connect.wat").replace("BODY", "(unreachable)");
    let config = Config::ingest()
        .set("decisions", "file", json!("decisions.jsonl"))
        .set("policies.guest", "component", json!("guest.wasm"))
        .set("policies.guest", "quarantine_after", json!(2))
        .set("policies.guest", "quarantine", json!("1h"))
        .set("routes.ingest", "on_connect", json!(["auth", "guest"]));
    let guest = wat::parse_str(guest).unwrap();
    let mut gateway = Gateway::start_with_files(&config, &[("guest.wasm", &guest)]);
    for user in ["u-1", "u-2", "u-3"] {
        let path = meeting("m1", "mic", &token::of_user(user));
        let mut client = Client::connect(Library::Ws, &gateway, &path);
        client.expect_refusal(4007, "policy_failed");
    }
    gateway.signal(Signal::TERM);
    gateway.wait();
    let folder = gateway.folder();
    let record = gateway.data().join("decisions.jsonl");
    let replay = |args: &[&str]| {
        let mut replay = command::sluice(&["policy", "replay", "--config", "sluice.toml"]);
        command::run(replay.current_dir(folder).arg(&record).args(args))
    };
    // The only policy with a component of its own.
    let done = replay(&["--component", "guest.wasm"]);
    assert_eq!(done.status, Some(0), "{done:?}");
    for told in [
        "decided     0 again",
        "passed over 2: the policy had failed",
        "passed over 1: the policy was in quarantine",
    ] {
        assert!(done.stdout.contains(told), "{told}: {done:?}");
    }
    let before = folder.join("decisions.jsonl.1");
    std::fs::copy(&record, &before).unwrap();
    let both = replay(&["--policy", "guest", before.to_str().unwrap()]);
    assert!(
        both.stdout.contains("passed over 4: the policy had failed"),
        "{both:?}"
    );
    let nobody = replay(&["--policy", "duplicate"]);
    assert_eq!(nobody.status, Some(1));
    assert!(
        nobody
            .stderr
            .contains("there is no decision of \"duplicate\"")
            && nobody.stderr.contains("guest"),
        "{nobody:?}"
    );
    let mut text = std::fs::read_to_string(&record).unwrap();
    text.push_str("{\"v\":2}\n");
    std::fs::write(&record, text).unwrap();
    let newer = replay(&["--policy", "guest"]);
    assert_eq!(newer.status, Some(1));
    let told = newer
        .stderr
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(
        told.contains("decisions.jsonl:7") && told.contains("has the form 2"),
        "{newer:?}"
    );
}
