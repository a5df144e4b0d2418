//! The record of decisions, as the real gateway writes it.

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::Raw;
use sluice_tests::token;

fn recording() -> Config {
    Config::ingest().set("decisions", "file", json!("decisions.jsonl"))
}

/// Stops the gateway, and reads what it has recorded.
fn lines(gateway: &mut Gateway) -> (String, Vec<Value>) {
    gateway.signal(Signal::TERM);
    gateway.wait();
    let text = std::fs::read_to_string(gateway.data().join("decisions.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (text.clone(), lines.collect())
}

#[test]
fn every_decision_is_a_line_with_its_grounds_and_no_secret() {
    let mut gateway = Gateway::start(&recording());
    let good = token::good();
    let mut first = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &good));
    first.handshake();
    let session = first.expect_ack();
    let other = token::of_user("u-2");
    let mut second = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &other));
    second.expect_refusal(4002, "ingest_exists");
    let expired = token::sign(&token::claims_with(json!({"exp": token::now() - 600})));
    let mut third = Client::connect(Library::Ws, &gateway, &meeting("m2", "mic", &expired));
    third.expect_refusal(4001, "auth_failed");
    first.finalize(0, 0);
    let (text, lines) = lines(&mut gateway);
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            format!("{} {} {}", line["policy"], line["stage"], line["effect"]).replace('"', "")
        })
        .collect();
    assert_eq!(
        told,
        [
            "auth connect accepted",
            "duplicate connect accepted",
            "sample-rate handshake accepted",
            "auth connect accepted",
            "duplicate connect refused",
            "auth connect refused",
        ]
    );
    assert_eq!(lines[0]["session"], session);
    assert_eq!(lines[0]["generation"], 1);
    let digest = lines[0]["digest"].as_str().unwrap();
    assert!(
        digest.starts_with("sha256:") && digest.len() == 71,
        "{digest}"
    );
    // What it was told about the token, and not the token.
    let verified = &lines[0]["calls"][0];
    assert_eq!(
        (&verified["call"], &verified["key_set"]),
        (&json!("jwt.verify"), &json!("main"))
    );
    assert_eq!(verified["answer"]["ok"]["user_id"], "u-1");
    assert_eq!(lines[0]["input"]["withheld"][0], "query token");
    assert_eq!(lines[5]["calls"][0]["answer"], json!({"err": "expired"}));
    assert_eq!(
        (&lines[5]["verdict"], &lines[5]["close_code"]),
        (&json!("reject"), &json!(4001))
    );
    // Who held the key, and what the newcomer was told of it.
    let claims = lines[4]["calls"].as_array().unwrap();
    assert_eq!(claims[0]["answer"]["err"]["session_id"], session);
    assert_eq!(lines[2]["input"]["handshake"]["sample_rate"], 16000);
    for token in [&good, &other, &expired] {
        for part in token.split('.').skip(1) {
            assert!(!text.contains(part), "a part of a token was recorded");
        }
    }
}

/// Requests that are as large as they may be, and all credentials.
fn storm(gateway: &Gateway, requests: usize) {
    use std::fmt::Write as _;
    let mut cookie = String::new();
    for n in 0..2_300 {
        let _ = write!(cookie, "part-{n:05}; ");
    }
    let path = meeting("storm", "mic", "no-token-at-all");
    let head = format!("\r\nCookie: {cookie}\r\n\r\n");
    let request = sluice_tests::raw::upgrade_request(&path).replacen("\r\n\r\n", &head, 1);
    for _ in 0..requests {
        let mut peer = Raw::connect(gateway.address());
        assert_eq!(peer.request(&request).status, 101);
        assert_eq!(peer.message()["code"], "auth_failed");
        peer.reset();
    }
}

#[test]
fn a_storm_of_requests_full_of_credentials_loses_nobody_else_s_decisions() {
    const STORMS: usize = 6;
    const REQUESTS: usize = 40;
    let config = recording().set("server", "admin_listen", json!("127.0.0.1:0"));
    let mut gateway = Gateway::start(&config);
    let sessions: Vec<String> = std::thread::scope(|scope| {
        for _ in 0..STORMS {
            scope.spawn(|| storm(&gateway, REQUESTS));
        }
        let mut client = Client::idle(Library::Ws);
        let session = |n| {
            let path = meeting(&format!("m{n}"), "mic", &token::good());
            client.open(&gateway, &path, &[]);
            client.handshake();
            let session = client.expect_ack();
            client.finalize(0, 0);
            session
        };
        (0..10).map(session).collect()
    });
    let (_, metrics) = gateway.admin("GET /metrics");
    let unrecorded = metrics.lines().filter_map(|line| {
        let (reason, count) = line
            .strip_prefix("sluice_decisions_unrecorded_total")?
            .split_once(' ')?;
        Some((reason.to_owned(), count.parse::<usize>().ok()?))
    });
    let unrecorded: Vec<(String, usize)> = unrecorded.filter(|(_, count)| *count > 0).collect();
    let (_, lines) = lines(&mut gateway);
    for session in &sessions {
        let of_it = lines.iter().filter(|line| line["session"] == **session);
        let policies: Vec<_> = of_it.map(|line| &line["policy"]).collect();
        assert_eq!(policies, ["auth", "duplicate", "sample-rate"], "{session}");
    }
    // What is not there was counted, and was the storm's own.
    let mine = "{reason=\"source-quota\"}";
    assert!(
        unrecorded.iter().all(|(reason, _)| reason == mine),
        "{unrecorded:?}"
    );
    let lost: usize = unrecorded.iter().map(|(_, count)| count).sum();
    assert_eq!(lines.len() + lost, STORMS * REQUESTS + 3 * sessions.len());
    // A line that cannot be looked through is there all the same.
    let stormy = lines
        .iter()
        .find(|line| line["policy"] == "auth" && line["code"] != json!(null));
    let withheld = json!("[withheld]");
    assert_eq!(
        stormy.expect("a line of the storm")["input"]["path"],
        withheld
    );
}

#[test]
fn a_policy_that_keeps_failing_is_put_away_and_still_refuses() {
    let guest = include_str!("../../guests/connect.wat").replace("BODY", "(unreachable)");
    let guest = wat::parse_str(guest).unwrap();
    let config = recording()
        .set("policies.guest", "component", json!("guest.wasm"))
        .set("policies.guest", "quarantine_after", json!(2))
        .set("policies.guest", "quarantine", json!("1h"))
        .set("routes.ingest", "on_connect", json!(["auth", "guest"]));
    let mut gateway = Gateway::start_with_files(&config, &[("guest.wasm", &guest)]);
    // One user may fail as often as he likes; the second one is the last who is asked about.
    for user in ["u-1", "u-1", "u-1", "u-2", "u-3", "u-1"] {
        let path = meeting("m1", "mic", &token::of_user(user));
        let mut client = Client::connect(Library::Ws, &gateway, &path);
        client.expect_refusal_saying(4007, "policy_failed", "policy guest failed");
    }
    let said = gateway.output().find("the quarantine", |line| {
        line.contains("quarantined: it fails")
            .then(|| line.to_owned())
    });
    let said = said.expect("the gateway runs");
    assert!(
        said.contains("unreachable") && said.contains("\"clients\":2"),
        "{said}"
    );
    let (_, mut lines) = lines(&mut gateway);
    lines.retain(|line| line["policy"] == "guest");
    let failures: Vec<_> = lines.iter().map(|line| &line["failure"]).collect();
    let expected = ["trap", "trap", "trap", "trap", "quarantined", "quarantined"];
    assert_eq!(failures, expected);
    assert!(lines.iter().all(|line| line["effect"] == "failed-closed"));
}

#[test]
fn a_reload_ends_the_quarantine_of_what_has_changed_and_of_nothing_else() {
    let guest = |body: &str| {
        let text = include_str!("../../guests/connect.wat").replace("BODY", body);
        wat::parse_str(text).unwrap()
    };
    let config = recording()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("policies.guest", "component", json!("guest.wasm"))
        .set("policies.guest", "quarantine_after", json!(1))
        .set("policies.guest", "quarantine", json!("1h"))
        .set("routes.ingest", "on_connect", json!(["guest"]));
    let files = [("guest.wasm", &*guest("(unreachable)"))];
    let mut gateway = Gateway::start_with_files(&config, &files);
    let refused = |gateway: &Gateway| {
        let mut client = Client::connect(Library::Ws, gateway, &meeting("m1", "mic", "none"));
        client.expect_refusal(4007, "policy_failed");
    };
    refused(&gateway);
    let others = config
        .clone()
        .set("policies.duplicate.config", "mode", json!("takeover"));
    gateway.replace("sluice.toml", others.to_string());
    gateway.reloaded(2);
    refused(&gateway);
    gateway.replace("guest.wasm", guest("(unreachable) (unreachable)"));
    gateway.reloaded(3);
    refused(&gateway);
    let own = others.set("policies.guest", "timeout", json!("40ms"));
    gateway.replace("sluice.toml", own.to_string());
    gateway.reloaded(4);
    refused(&gateway);
    let (_, lines) = lines(&mut gateway);
    let failures: Vec<_> = lines.iter().map(|line| &line["failure"]).collect();
    assert_eq!(failures, ["trap", "quarantined", "trap", "trap"]);
}

#[test]
fn a_record_that_is_full_is_put_aside_and_the_oldest_goes() {
    let config = recording().set("decisions", "max_size", json!("4KiB")).set(
        "decisions",
        "max_files",
        json!(3),
    );
    let mut gateway = Gateway::start(&config);
    let sessions: Vec<Value> = (0..40)
        .map(|n| {
            let mut peer = Raw::connect(gateway.address());
            peer.upgrade(&meeting(&format!("m{n}"), "mic", "nonsense"));
            peer.message()["session_id"].take()
        })
        .collect();
    gateway.signal(Signal::TERM);
    gateway.wait();
    let file = |name: &str| gateway.data().join(format!("decisions.jsonl{name}"));
    let mut kept = Vec::new();
    for name in [".2", ".1", ""] {
        let text = std::fs::read_to_string(file(name)).unwrap();
        assert!(
            !text.is_empty() && text.len() <= 4096,
            "{name}: {}",
            text.len()
        );
        kept.extend(text.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("whole lines");
            line["session"].clone()
        }));
    }
    assert!(!file(".3").exists());
    // The latest, in order, and none of them twice.
    assert!(kept.len() < sessions.len(), "nothing went");
    assert!(sessions.ends_with(&kept), "{kept:?} of {sessions:?}");
    let mut replay = command::sluice(&["policy", "replay", "--policy", "auth", "--config"]);
    replay.arg("sluice.toml").current_dir(gateway.folder());
    let done = command::run(replay.args([".2", ".1", ""].map(file)));
    let told = format!("decided     {0} again: {0} the same", kept.len());
    assert!(done.stdout.contains(&told), "{told}: {done:?}");
}

#[test]
fn a_record_that_cannot_be_written_stops_nobody() {
    let config = recording()
        .set("decisions", "file", json!("/dev/full"))
        .set("server", "admin_listen", json!("127.0.0.1:0"));
    let gateway = Gateway::start(&config);
    let mut client = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
    client.handshake();
    client.expect_ack();
    client.finalize(0, 0);
    sluice_tests::eventually("the count of what was not recorded", || {
        let (_, metrics) = gateway.admin("GET /metrics");
        metrics
            .contains("sluice_decisions_unrecorded_total{reason=\"disk\"} 3")
            .then_some(())
    });
}
