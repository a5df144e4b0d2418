//! What operators change: who may stay and come, whether newcomers are taken, which policies are
//! called.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::{eventually, token};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn operated(config: Config) -> Gateway {
    let config = config
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "admin_token_file", json!("admin-token"));
    Gateway::start_with_files(&config, &[("admin-token", TOKEN.as_bytes())])
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| json!(body))
}

fn post(gateway: &Gateway, path: &str) -> (u16, Value) {
    let (status, body) = gateway.admin(&format!("POST {path}\r\nAuthorization: Bearer {TOKEN}"));
    (status, parsed(&body))
}

fn get(gateway: &Gateway, path: &str) -> Value {
    let (status, body) = gateway.admin(&format!("GET {path}"));
    assert_eq!(status, 200, "{path}: {body}");
    parsed(&body)
}

/// Runs a command that changes something.
fn sluice(gateway: &Gateway, args: &[&str]) -> Done {
    let address = gateway.admin_address().to_string();
    let mut command = command::sluice(args);
    command
        .args(["--admin", &address])
        .env("SLUICE_ADMIN_TOKEN", TOKEN);
    command::run(&mut command)
}

fn said(gateway: &Gateway, args: &[&str]) -> String {
    let done = sluice(gateway, args);
    assert_eq!(
        (done.status, &*done.stderr),
        (Some(0), ""),
        "{args:?}: {done:?}"
    );
    done.stdout
}

/// The audit lines so far, as action, object and result.
fn audit(gateway: &Gateway) -> Vec<[String; 3]> {
    let lines = gateway.output().lines();
    let events = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let audited = events.filter(|event| event["target"] == "sluice::audit");
    audited
        .map(|event| {
            let by = event["by"].as_str().unwrap();
            assert!(by.starts_with("127.0.0.1:"), "{event}");
            ["action", "to", "result"].map(|key| event[key].as_str().unwrap().to_owned())
        })
        .collect()
}

/// Waits for the last of these audit lines, and compares all of them.
#[track_caller]
fn expect_audit(gateway: &Gateway, expected: &[[&str; 3]]) {
    let seen = eventually("the audit lines", || {
        let seen = audit(gateway);
        (seen.len() >= expected.len()).then_some(seen)
    });
    assert_eq!(seen, expected);
}

fn refused(gateway: &Gateway, name: &str, user: &str) -> Value {
    let path = meeting(name, "mic", &token::of_user(user));
    let mut client = Client::connect(Library::Ws, gateway, &path);
    client.message()
}

#[test]
fn a_drained_gateway_refuses_newcomers_and_live_streams_go_on_until_it_is_undrained() {
    let gateway = operated(Config::ingest());
    let (mut client, _) = Client::stream_of(&gateway, "m1", "u-1");
    assert_eq!(post(&gateway, "/drain").1["draining"], true);
    assert_eq!(gateway.admin("GET /readyz"), (503, "draining\n".to_owned()));
    assert_eq!(get(&gateway, "/status")["draining"], true);
    let frame = refused(&gateway, "m2", "u-2");
    assert_eq!(
        (&frame["close_code"], &frame["code"]),
        (&json!(1001), &json!("draining"))
    );
    assert!(frame["retry_after_ms"].is_u64(), "{frame}");
    // A reload changes nothing of that.
    assert_eq!(post(&gateway, "/reload").0, 200);
    assert_eq!(refused(&gateway, "m2", "u-2")["code"], "draining");
    client.send_audio(&[1; 6400]);
    assert_eq!(post(&gateway, "/undrain").1["draining"], false);
    assert_eq!(gateway.admin("GET /readyz").0, 200);
    Client::stream_of(&gateway, "m2", "u-2").0.finalize(0, 0);
    client.finalize(6400, 200);
    let generation = "swapped, generation 2";
    expect_audit(
        &gateway,
        &[
            ["drain", "newcomers", "refused"],
            ["reload", "configuration", generation],
            ["undrain", "newcomers", "taken"],
        ],
    );
}

#[test]
fn a_client_that_was_cut_off_comes_back_to_a_drained_gateway() {
    let gateway = operated(Config::ingest().limit("resume_grace", "10min"));
    let path = meeting("m1", "mic", &token::of_user("u-1"));
    let mut client = Client::connect(Library::Ws, &gateway, &path);
    let mut greeting = handshake();
    greeting["features"] = json!(["ack", "resume"]);
    client.json(&greeting);
    let ack = client.message();
    let resume = ack["resume_token"].as_str().expect("a token").to_owned();
    assert_eq!(post(&gateway, "/drain").0, 200);
    client.vanish();
    let parked = || {
        let sessions = get(&gateway, "/sessions?stage=parked");
        (sessions["sessions"].as_array().unwrap().len() == 1).then_some(())
    };
    eventually("a parked stream", parked);
    let mut back = Client::idle(Library::Ws);
    back.open(&gateway, &path, &[("X-Sluice-Resume", &resume)]);
    back.json(&greeting);
    assert_eq!(back.message()["ok"], true);
    back.finalize(0, 0);
}

#[test]
fn whoever_is_revoked_is_ended_and_refused_until_the_time_or_until_it_is_lifted() {
    let gateway = operated(Config::ingest());
    let (mut theirs, _) = Client::stream_of(&gateway, "m1", "u-1");
    let (mut other, _) = Client::stream_of(&gateway, "m2", "u-2");
    let path = "/sessions/close?user=u-1&until=2999-01-01T00:00:00Z&reason=your+laptop+is+lost";
    let (status, closed) = post(&gateway, path);
    assert_eq!((status, &closed["closed"]), (200, &json!(1)), "{closed}");
    assert_eq!(closed["revoked_until"], "2999-01-01T00:00:00.000Z");
    let reason = "your laptop is lost";
    theirs.expect_refusal_saying(4003, "ended_by_operator", reason);
    let again = || refused(&gateway, "m1", "u-1");
    for _ in 0..2 {
        let frame = again();
        assert_eq!(
            (&frame["close_code"], &frame["message"]),
            (&json!(4003), &json!(reason))
        );
        assert_eq!(frame["retryable"], false);
        // The list is not the configuration's.
        assert_eq!(post(&gateway, "/reload").0, 200);
    }
    let listed = get(&gateway, "/revocations");
    let listed = &listed["revocations"];
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(
        (&listed[0]["user"], &listed[0]["tenant"]),
        (&json!("u-1"), &Value::Null)
    );
    assert_eq!(listed[0]["reason"], reason);
    assert_eq!(post(&gateway, "/revocations/lift?user=u-2").0, 404);
    assert_eq!(post(&gateway, "/revocations/lift?user=u-1").0, 200);
    assert_eq!(get(&gateway, "/revocations")["revocations"], json!([]));
    Client::stream_of(&gateway, "m1", "u-1").0.finalize(0, 0);
    // A tenant is all of its users.
    let (_, closed) = post(
        &gateway,
        "/sessions/close?tenant=t-1&until=2999-01-01T00:00:00Z",
    );
    assert_eq!(closed["closed"], 1);
    other.expect_refusal(4003, "ended_by_operator");
    assert_eq!(refused(&gateway, "m3", "u-3")["code"], "ended_by_operator");
}

#[test]
fn a_revocation_that_says_no_time_to_come_or_nobody_is_refused_with_what_to_write() {
    let gateway = operated(Config::open());
    let long = "x".repeat(2000);
    for (query, said) in [
        ("user=u&until=tomorrow", "2026-11-27T08:00:00Z"),
        ("user=u&until=2001-01-01T00:00:00Z", "in the past"),
        ("until=2999-01-01T00:00:00Z", "user=ID or tenant=ID"),
        ("user=&until=2999-01-01T00:00:00Z", "user=ID or tenant=ID"),
        ("user=u&tenant=t", "user=ID or tenant=ID"),
        (
            &*format!("user={long}&until=2999-01-01T00:00:00Z"),
            "1024 bytes",
        ),
        ("user=u&untill=2999-01-01T00:00:00Z", "unknown field"),
    ] {
        let (status, body) = post(&gateway, &format!("/sessions/close?{query}"));
        let body = body.as_str().unwrap_or_default().to_owned();
        assert_eq!(status, 400, "{query}: {body}");
        assert!(body.contains(said), "{said} in {body}");
    }
    for number in 0..1024 {
        let path = format!("/sessions/close?user={number}&until=2999-01-01T00:00:00Z");
        assert_eq!(post(&gateway, &path).0, 200);
    }
    let path = "/sessions/close?user=more&until=2999-01-01T00:00:00Z";
    let (status, body) = post(&gateway, path);
    assert_eq!(status, 409, "{body}");
    assert!(body.as_str().unwrap().contains("lift one"), "{body}");
}

#[test]
fn a_policy_that_an_operator_quarantines_is_not_called_until_it_is_released() {
    let gateway = operated(Config::ingest());
    let state = || {
        let policies = get(&gateway, "/policies");
        let policies = policies["policies"].as_array().unwrap().clone();
        let found = policies.iter().find(|policy| policy["name"] == "duplicate");
        found.unwrap()["state"].clone()
    };
    let (_live, _) = Client::stream_of(&gateway, "m1", "u-1");
    assert_eq!(post(&gateway, "/policies/nothing/quarantine").0, 404);
    let (status, changed) = post(&gateway, "/policies/duplicate/quarantine");
    assert_eq!(
        (status, &changed["policy"]["state"]),
        (200, &json!("quarantined-by-operator"))
    );
    for _ in 0..2 {
        let frame = refused(&gateway, "m2", "u-2");
        assert_eq!(
            (&frame["close_code"], &frame["code"]),
            (&json!(4007), &json!("policy_failed"))
        );
        // A reload of the same policy changes nothing of that.
        assert_eq!(post(&gateway, "/reload").0, 200);
        assert_eq!(state(), "quarantined-by-operator");
    }
    assert_eq!(post(&gateway, "/policies/duplicate/release").0, 200);
    assert_eq!(state(), "in-use");
    Client::stream_of(&gateway, "m2", "u-2").0.finalize(0, 0);
    assert_eq!(
        gateway.metric("sluice_policy_quarantines_total{policy=\"duplicate\"}"),
        1.0
    );
    let seen = audit(&gateway);
    let of_policies = seen.iter().filter(|[_, to, _]| to.starts_with("policy "));
    let of_policies: Vec<_> = of_policies.collect();
    assert_eq!(
        of_policies,
        [
            &["quarantine", "policy nothing", "not found"].map(str::to_owned),
            &["quarantine", "policy duplicate", "quarantined-by-operator"].map(str::to_owned),
            &["release", "policy duplicate", "in-use"].map(str::to_owned),
        ]
    );
}

#[test]
fn a_reload_that_is_refused_is_in_the_audit_too() {
    let gateway = operated(Config::open().set("server", "watch", json!(false)));
    gateway.replace("sluice.toml", "[routes");
    assert_eq!(post(&gateway, "/reload").0, 422);
    expect_audit(
        &gateway,
        &[["reload", "configuration", "refused, nothing has changed"]],
    );
}

#[test]
fn each_change_is_a_command_too() {
    let gateway = operated(Config::ingest());
    let (mut one, id) = Client::stream_of(&gateway, "m1", "u-1");
    let (mut two, _) = Client::stream_of(&gateway, "m2", "u-2");
    let text = said(&gateway, &["close", &id, "--reason", "moved"]);
    assert_eq!(text, "1 session is told to end");
    one.expect_refusal_saying(4003, "ended_by_operator", "moved");
    let text = said(&gateway, &["close", "--user", "u-2", "--for", "8h"]);
    assert!(
        text.contains("1 session is told to end, and new ones are refused until 2"),
        "{text}"
    );
    two.expect_refusal(4003, "ended_by_operator");
    let text = said(&gateway, &["revocations"]);
    assert!(text.contains("user u-2"), "{text}");
    said(&gateway, &["lift", "--user", "u-2"]);
    assert_eq!(said(&gateway, &["revocations"]), "nobody is refused");
    said(&gateway, &["drain"]);
    assert_eq!(gateway.admin("GET /readyz").0, 503);
    assert!(said(&gateway, &["status"]).contains("draining"));
    said(&gateway, &["undrain"]);
    assert_eq!(gateway.admin("GET /readyz").0, 200);
    let text = said(&gateway, &["quarantine", "auth"]);
    assert_eq!(text, "auth is quarantined-by-operator; it fails closed");
    assert!(said(&gateway, &["release", "auth"]).starts_with("auth is in-use"));
    assert_eq!(said(&gateway, &["reload"]), "generation 2 serves newcomers");
    for (args, status, said) in [
        (&["close", &id][..], 1, "no session of this id"),
        (&["close"], 2, "required"),
        (&["close", &id, "--user", "u-1"], 2, "cannot be used with"),
        (&["close", &id, "--for", "8h"], 2, "cannot be used with"),
        (&["lift", "--user", "u-9"], 1, "no revocation"),
        (&["lift"], 2, "required"),
        (&["quarantine", "nothing"], 1, "no policy of this name"),
        (
            &["close", "--user", "u", "--until", "tomorrow"],
            1,
            "RFC 3339",
        ),
    ] {
        let done = sluice(&gateway, args);
        assert_eq!(done.status, Some(status), "{args:?}: {done:?}");
        assert!(done.stderr.contains(said), "{said} in {done:?}");
    }
    let done = command::run(
        command::sluice(&["drain", "--admin", &gateway.admin_address().to_string()])
            .env_remove("SLUICE_ADMIN_TOKEN"),
    );
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(done.stderr.contains("401"), "{done:?}");
}
