//! What policies say beside their answers: notices to clients, and counters of their own.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::{eventually, token};

const GUEST: &str = include_str!("../../guests/saying.wat");
const COUNTED: &str =
    "sluice_policy_counted_total{policy=\"saying\",name=\"streams\",label=\"gold\"}";

#[derive(Clone, Copy)]
enum Answer {
    Accept,
    Refuse,
    /// What lies outside its memory, which is a trap.
    Trap,
}

fn guest(answer: Answer) -> Vec<u8> {
    let answer = match answer {
        Answer::Accept => "1000",
        Answer::Refuse => "512",
        Answer::Trap => "7000000",
    };
    wat::parse_str(GUEST.replace("ANSWER", answer)).expect("a component")
}

/// A route with the policy that says something.
fn config() -> Config {
    Config::ingest()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("decisions", "file", json!("decisions.jsonl"))
        .set("policies.saying", "component", json!("guest.wasm"))
        .set("policies.saying", "timeout", json!("2s"))
        .set("policies.saying", "grants", json!(["notice", "metrics"]))
        .set("routes.ingest", "on_connect", json!(["auth", "saying"]))
}

fn start(config: &Config, answer: Answer) -> Gateway {
    Gateway::start_with_files(config, &[("guest.wasm", &guest(answer))])
}

fn connect(gateway: &Gateway) -> Client {
    let path = meeting("m1", "mic", &token::good());
    Client::connect(Library::Ws, gateway, &path)
}

fn notices(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric(&format!(
        "sluice_notices_total{{policy=\"saying\",result=\"{result}\"}}"
    ))
}

fn notice(code: &str) -> Value {
    json!({
        "type": "status", "status": "notice", "code": code,
        "message": "your plan ends in three days",
    })
}

#[test]
fn a_notice_comes_after_the_ack_and_the_stream_goes_on() {
    let mut gateway = start(&config(), Answer::Accept);
    let mut client = connect(&gateway);
    client.handshake();
    let session = client.expect_ack();
    for _ in 0..4 {
        assert_eq!(client.message(), notice("plan_expires"));
    }
    client.binary(&[0; 3200]);
    client.finalize(3200, 100);
    assert_eq!(
        (notices(&gateway, "sent"), notices(&gateway, "dropped")),
        (4.0, 2.0)
    );
    assert_eq!(gateway.metric(COUNTED), 2.0);

    gateway.connection_log(&session);
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let record = gateway.data().join("decisions.jsonl");
    let lines = std::fs::read_to_string(&record).expect("a record");
    let line = lines.lines().find(|line| line.contains("\"saying\""));
    let line: Value = serde_json::from_str(line.expect("a line")).expect("JSON");
    let said = json!({"call": "notice", "code": "plan_expires",
                      "message": "your plan ends in three days"});
    let counted = json!({"call": "metrics", "name": "streams", "label": "gold", "amount": 2});
    assert_eq!(line["calls"], json!([said, said, said, said, counted]));

    // A replay needs none of it, and a case asks for it.
    let folder = gateway.folder();
    std::fs::write(folder.join("replay.toml"), config().to_string()).expect("a file");
    let of_saying = ["--config", "replay.toml", "--policy", "saying"];
    let policy = |args: &[&str]| {
        let mut policy = command::sluice(&["policy"]);
        command::run(policy.args(args).args(of_saying).current_dir(folder))
    };
    let record = record.to_str().expect("a path of text");
    let done = policy(&["replay", record]);
    assert!(done.stdout.contains("1 the same, 0 different"), "{done:?}");
    let case = [
        "policy",
        "case",
        record,
        "--session",
        &session,
        "--policy",
        "saying",
    ];
    let case = command::run(&mut command::sluice(&case));
    let expected = r#"expect = { "metrics" = { "streams:gold" = 2 }, "notices" = ["#;
    assert!(case.stdout.contains(expected), "{case:?}");
    std::fs::write(folder.join("cases.toml"), &case.stdout).expect("a file");
    let done = policy(&["test", "cases.toml"]);
    assert!(done.stdout.contains("1 passed, 0 failed"), "{done:?}");
    let left_out = "warning: a notice was left out: a call may send 4";
    assert!(done.stdout.contains(left_out), "{done:?}");
    let done = policy(&["run", "cases.toml"]);
    for told in [
        "notice   plan_expires \"your plan",
        "counts   streams:gold 2",
    ] {
        assert!(done.stdout.contains(told), "{told}: {done:?}");
    }
    let other = case
        .stdout
        .replace("= 2 }", "= 3 }")
        .replace("plan_expires", "other");
    std::fs::write(folder.join("cases.toml"), other).expect("a file");
    let done = policy(&["test", "cases.toml"]);
    for told in [
        "the client is sent no notice \"other\"",
        "2 is added to the metric streams:gold, not 3",
    ] {
        assert!(done.stdout.contains(told), "{told}: {done:?}");
    }
}

#[test]
fn a_refusal_is_sent_without_notices_and_what_it_counts_is_counted() {
    let gateway = start(&config(), Answer::Refuse);
    let mut client = connect(&gateway);
    client.expect_refusal_saying(4125, "refused", "refused");
    assert_eq!(
        (notices(&gateway, "sent"), notices(&gateway, "dropped")),
        (0.0, 6.0)
    );
    assert_eq!(gateway.metric(COUNTED), 2.0);
}

#[test]
fn a_call_that_traps_says_nothing() {
    let gateway = start(&config(), Answer::Trap);
    connect(&gateway).expect_refusal(4007, "policy_failed");
    let (_, metrics) = gateway.admin("GET /metrics");
    assert!(!metrics.contains("name=\"streams\""), "{metrics}");
    assert_eq!(notices(&gateway, "sent"), 0.0);
}

#[test]
fn notices_before_a_refusal_by_another_policy_are_counted_as_dropped() {
    let config = config()
        .set("policies.refusing", "component", json!("refusing.wasm"))
        .set("policies.refusing", "timeout", json!("2s"))
        .set("policies.refusing", "grants", json!(["notice", "metrics"]))
        .set(
            "routes.ingest",
            "on_connect",
            json!(["auth", "saying", "refusing"]),
        );
    let (accepts, refuses) = (guest(Answer::Accept), guest(Answer::Refuse));
    let files: [(&str, &[u8]); 2] = [("guest.wasm", &accepts), ("refusing.wasm", &refuses)];
    let gateway = Gateway::start_with_files(&config, &files);
    connect(&gateway).expect_refusal_saying(4125, "refused", "refused");
    eventually("the end of the session", || {
        (notices(&gateway, "dropped") == 6.0).then_some(())
    });
    assert_eq!(notices(&gateway, "sent"), 0.0);
}

#[test]
fn a_renewed_token_neither_warns_nor_counts_once_more() {
    let gateway = start(&config(), Answer::Accept);
    let mut client = connect(&gateway);
    client.handshake();
    client.expect_ack();
    for _ in 0..4 {
        assert_eq!(client.message(), notice("plan_expires"));
    }
    client.json(&json!({"type": "auth", "token": token::good()}));
    let renewed = client.message();
    assert_eq!(renewed["status"], "renewed", "{renewed}");
    client.finalize(0, 0);
    assert_eq!(
        (notices(&gateway, "sent"), notices(&gateway, "dropped")),
        (4.0, 2.0)
    );
    assert_eq!(gateway.metric(COUNTED), 2.0);
}

#[test]
fn a_notice_reaches_a_client_that_streams_until_it_has_had_enough() {
    let config = config()
        .set("routes.ingest", "on_connect", json!(["auth"]))
        .set("routes.ingest", "on_frames", json!(["saying"]))
        .limit("frames_window", "100ms");
    let gateway = start(&config, Answer::Accept);
    let mut client = connect(&gateway);
    client.handshake();
    client.expect_ack();
    // Its word is made one that a client can rely on.
    assert_eq!(client.message(), notice("_oo_quiet"));
    for _ in 1..32 {
        assert_eq!(client.message(), notice("_oo_quiet"));
    }
    eventually("one too many", || {
        (notices(&gateway, "dropped") >= 1.0).then_some(())
    });
    assert_eq!(notices(&gateway, "sent"), 32.0);
    let counted = "sluice_policy_counted_total{policy=\"saying\",name=\"_oo\",label=\"\"}";
    assert!(gateway.metric(counted) >= 32.0);
    client.finalize(0, 0);
}

#[test]
fn a_shadow_warns_nobody_and_counts_nothing() {
    let config = config().set("policies.saying", "shadow", json!(true)).set(
        "routes.ingest",
        "on_connect",
        json!(["auth", "saying"]),
    );
    let gateway = start(&config, Answer::Refuse);
    let mut client = connect(&gateway);
    client.handshake();
    client.expect_ack();
    client.finalize(0, 0);
    eventually("the shadow's answer", || {
        let sample = "sluice_shadow_decisions_total{policy=\"saying\",result=\"differ\"}";
        (gateway.metric(sample) == 1.0).then_some(())
    });
    assert_eq!(
        (notices(&gateway, "sent"), notices(&gateway, "dropped")),
        (0.0, 0.0)
    );
    let (_, metrics) = gateway.admin("GET /metrics");
    assert!(!metrics.contains("name=\"streams\""), "{metrics}");
}

#[test]
fn what_says_something_without_a_grant_does_not_load() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("guest.wasm"), guest(Answer::Accept)).expect("a file");
    let file = folder.path().join("sluice.toml");
    let config = config().set("policies.saying", "grants", json!(["notice"]));
    std::fs::write(&file, config.to_string()).expect("a file");
    let done = command::run(command::sluice(&["check", "--config"]).arg(&file));
    assert_eq!(done.status, Some(1), "{done:?}");
    let report = done.stderr.split_whitespace().filter(|word| *word != "|");
    let report = report.collect::<Vec<_>>().join(" ");
    assert!(
        report.contains("grants = [\"notice\", \"metrics\"]"),
        "{report}"
    );
}
