//! What breaks behind the gateway, and in it: one client is told, and nobody
//! else notices.

use std::net::Shutdown;

use serde_json::json;
use sluice_tests::client::{Client, Event, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::Raw;
use sluice_tests::{eventually, token, with_both_clients};
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// The main job, with recordings that fail as `fault` says: when, and how.
fn config(fault: &str) -> Config {
    let upstream = format!("fault-{fault}");
    Config::ingest()
        .set(&format!("upstreams.{upstream}"), "kind", json!("wav"))
        .set("routes.ingest", "upstream", json!(upstream))
}

/// Goes on until it is to be refused.
fn stream(library: Library, gateway: &Gateway, fault: &str) -> Client {
    let mut client = Client::connect(library, gateway, &meeting("m1", "mic", &token::good()));
    client.handshake();
    if !fault.starts_with("open") {
        client.expect_ack();
        client.binary(&[1; 640]);
        client.json(&json!({"type": "finalize"}));
    }
    client
}

with_both_clients! {
    fn a_bug_is_told_as_internal_error_and_leaves_everybody_else_alone(library) {
        for fault in ["open-panic", "ready-panic", "message-panic", "event-panic", "seal-panic"] {
            let config = config(fault).set("server", "admin_listen", json!("127.0.0.1:0"));
            let gateway = Gateway::start_faulty(&config);
            let mut neighbour = Client::connect(library, &gateway, "/echo");
            // Twice with the same key: the first lets go of its claim.
            for _ in 0..2 {
                let mut client = stream(library, &gateway, fault);
                let frame = client.expect_refusal_saying(4000, "internal_error", "Internal error");
                assert_eq!(frame["retryable"], true);
                // It ends with its line, as every connection does.
                let entry = gateway.connection_log(frame["session_id"].as_str().expect("a session"));
                assert_eq!(entry["cause"], "internal_error", "{entry}");
                assert_eq!(entry["delivery"], "confirmed", "{entry}");
            }
            counts_two(&gateway, fault);
            neighbour.text("still here");
            assert_eq!(neighbour.event(), Event::Text("still here".to_owned()));
            let panic = gateway.output().find("the panic in the log", |line| {
                let event: serde_json::Value = serde_json::from_str(line).ok()?;
                let said = event["message"] == "panic: the fault that was asked for";
                said.then_some(event)
            });
            let panic = panic.expect("the gateway runs");
            assert!(panic["backtrace"].as_str().is_some_and(|trace| trace.contains("faulty")), "{panic}");
        }
    }

    fn an_upstream_that_fails_is_told_as_unavailable(library) {
        for (fault, message) in [
            ("open-error", "closed on demand"),
            ("ready-error", "lost on demand"),
            ("event-error", "lost on demand"),
            ("seal-error", "lost on demand"),
        ] {
            let gateway = Gateway::start_faulty(&config(fault));
            for _ in 0..2 {
                let mut client = stream(library, &gateway, fault);
                let frame = client.expect_refusal_saying(4006, "upstream_unavailable", message);
                assert_eq!(frame["retryable"], true);
            }
        }
    }
}

/// What two connections come to that a bug ended, beside one that lives.
fn counts_two(gateway: &Gateway, fault: &str) {
    eventually("the end of both", || {
        (gateway.metric("sluice_connections_live") == 1.0).then_some(())
    });
    // Sealing is in a task of its own: whoever waits for it closes as always.
    let dropped = if fault == "seal-panic" { 0.0 } else { 2.0 };
    let received = if fault == "open-panic" { 0.0 } else { 1280.0 };
    let closes = r#"sluice_closes_total{cause="internal_error",code="4000",closed_by="gateway"}"#;
    for (sample, count) in [
        ("sluice_panics_total", 2.0),
        ("sluice_connections_dropped_total", dropped),
        (closes, 2.0),
        (
            r#"sluice_close_deliveries_total{delivery="confirmed"}"#,
            2.0,
        ),
        ("sluice_received_bytes_total", received),
    ] {
        assert_eq!(gateway.metric(sample), count, "{sample} after {fault}");
    }
}

#[test]
fn an_upstream_that_never_answers_is_given_up() {
    for (fault, message) in [
        ("open-never", "the upstream did not open in time"),
        ("ready-never", "the upstream takes nothing any more"),
        ("seal-never", "the stream could not be completed"),
    ] {
        let config = config(fault)
            .limit("admission_timeout", "500ms")
            .limit("write_timeout", "300ms");
        let gateway = Gateway::start_faulty(&config);
        for _ in 0..2 {
            let mut client = stream(Library::Websockets, &gateway, fault);
            client.expect_refusal_saying(4006, "upstream_unavailable", message);
        }
    }
}

#[test]
fn a_seal_that_fails_when_nobody_waits_for_it_is_in_the_log() {
    let config = config("seal-late").limit("write_timeout", "200ms");
    let gateway = Gateway::start_faulty(&config);
    let mut client = stream(Library::Ws, &gateway, "seal-late");
    let message = "the stream could not be completed";
    let frame = client.expect_refusal_saying(4006, "upstream_unavailable", message);
    let late = gateway.output().find("what became of it", |line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let said = event["message"]
            .as_str()?
            .starts_with("the upstream could not be sealed, and");
        said.then_some(event)
    });
    let late = late.expect("the gateway runs");
    assert_eq!(late["span"]["session_id"], frame["session_id"], "{late}");
    assert_eq!(late["span"]["user"], "u-1", "{late}");
    assert_eq!(late["detail"], "the fault that was asked for", "{late}");
}

#[test]
fn a_worker_thread_that_is_stuck_is_logged_and_counted_and_its_streams_go_on() {
    let config = config("message-block").set("server", "admin_listen", json!("127.0.0.1:0"));
    let gateway = Gateway::start_faulty(&config);
    let path = meeting("m1", "mic", &token::good());
    let mut client = Client::connect(Library::Websockets, &gateway, &path);
    client.handshake();
    client.expect_ack();
    client.binary(&[1; 640]);
    let line = gateway.output().find("the stall in the log", |line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let said = event["message"].as_str()?;
        said.starts_with("a worker thread is stuck")
            .then_some(event)
    });
    let line = line.expect("the gateway runs");
    assert_eq!(line["level"], "ERROR", "{line}");
    assert!(line["lasted"].is_string(), "{line}");
    std::fs::write(gateway.data().join("unblock"), "").expect("a file");
    client.finalize(640, 20);
    // A machine that is busy may stop a thread for as long.
    assert!(gateway.metric("sluice_worker_stalls_total") >= 1.0);
    assert!(gateway.metric("sluice_worker_stall_seconds") >= 0.5);
}

#[test]
fn a_panic_in_a_task_beside_the_connection_is_logged_as_its_own() {
    let gateway = Gateway::start_faulty(&config("seal-panic"));
    let mut client = stream(Library::Ws, &gateway, "seal-panic");
    let frame = client.expect_refusal(4000, "internal_error");
    let panic = gateway.output().find("the panic in the log", |line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        event["backtrace"].is_string().then_some(event)
    });
    let panic = panic.expect("the gateway runs");
    assert_eq!(panic["span"]["session_id"], frame["session_id"], "{panic}");
}

#[test]
fn a_client_that_has_gone_is_not_held_for_an_upstream_that_takes_nothing() {
    let config = config("ready-never").limit("write_timeout", "300ms");
    let gateway = Gateway::start_faulty(&config);
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting("m1", "mic", &token::good()));
    peer.send(OpCode::Data(Data::Text), handshake().to_string().as_bytes());
    assert_eq!(peer.message()["type"], "handshake-ack");
    // The upstream takes the first, and the end of the stream stays unseen
    // behind the second.
    for _ in 0..2 {
        peer.send(OpCode::Data(Data::Binary), &[1; 640]);
    }
    peer.writer().shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.message()["code"], "upstream_unavailable");
    let close = peer.frame().expect("a Close");
    assert_eq!(close.close().map(|(code, _)| code), Some(4006));
    assert_eq!(peer.frame(), None);
}
