//! The protocol's document, `host/protocol/asyncapi.json`, beside the code.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::message::{ClientMessage, HostMessage};
use session::handshake::{ACK, Handshake, RESUME};

/// The document.
pub(super) fn document() -> Value {
    serde_json::from_str(include_str!("../../../protocol/asyncapi.json")).unwrap()
}

/// Has messages checked against their schemas, and the document against
/// AsyncAPI's own.
pub(super) fn validate(messages: &[(&str, Value)]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/protocol.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Node is needed: see the README");
    let mut lines = node.stdin.take().unwrap();
    for (message, value) in messages {
        writeln!(lines, "{}", json!({"message": message, "value": value})).unwrap();
    }
    drop(lines);
    let done = node.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "{said}{}(`make setup` installs what it needs)",
        String::from_utf8_lossy(&done.stderr)
    );
    let seen = format!("{} messages seen", messages.len());
    assert!(said.contains(&seen), "{said}");
}

/// The examples of messages that one side sends, each with its message's name.
fn examples(operation: &str) -> Vec<(String, String, Value)> {
    let document = document();
    let sent = document["operations"][operation]["messages"].as_array();
    let names = sent.unwrap().iter().map(|message| {
        let reference = message["$ref"].as_str().unwrap();
        reference.rsplit('/').next().unwrap().to_owned()
    });
    let examples = names.flat_map(|name| {
        let examples = document["components"]["messages"][&name]["examples"].clone();
        let examples = examples.as_array().cloned().unwrap_or_default();
        examples.into_iter().map(move |example| {
            let title = example["name"].as_str().unwrap().to_owned();
            (name.clone(), title, example["payload"].clone())
        })
    });
    examples.collect()
}

/// The document's message that a message of the host is. A new one does not
/// compile until it has its place there.
fn name(message: &HostMessage<'_>) -> &'static str {
    match message {
        HostMessage::Ack(_) => "handshake-ack",
        HostMessage::Pong { .. } => "gateway-pong",
        HostMessage::Status { .. } => "status",
        HostMessage::Kept { .. } => "ack",
        HostMessage::TokenExpiring { .. } => "token_expiring",
        HostMessage::Renewed { .. } => "renewed",
        HostMessage::RenewalRefused { .. } => "renewal_refused",
        HostMessage::Notice { .. } => "notice",
        HostMessage::Finalized { .. } => "finalized",
        HostMessage::Error(_) => "error",
    }
}

#[test]
fn the_examples_of_the_host_are_what_it_says() {
    use std::time::Duration;
    const SESSION: &str = "01a20539-75d5-752d-9f0c-343a8012284e";
    const TOKEN: &str = "sluice.resume.q2iJ0cN0XbW3mB7VgB8vB1cPZc6hJ5Y1r0S9o2u4x8E";
    let both: &[&str] = &[ACK, RESUME];
    let expired = "auth failed: token expired";
    let draining = "the gateway is shutting down";
    let after = Some(Duration::from_millis(2718));
    let said = [
        ("plain", HostMessage::ack(SESSION, &[], None, None)),
        (
            "acknowledged",
            HostMessage::ack(SESSION, &[ACK], None, None),
        ),
        (
            "resumable",
            HostMessage::ack(SESSION, both, Some(TOKEN), None),
        ),
        (
            "resumed",
            HostMessage::ack(SESSION, both, Some(TOKEN), Some(348_160)),
        ),
        ("pong", HostMessage::pong()),
        ("paused", HostMessage::status("paused")),
        ("resumed", HostMessage::status("resumed")),
        ("upstream_lost", HostMessage::status("upstream_lost")),
        (
            "upstream_restored",
            HostMessage::status("upstream_restored"),
        ),
        (
            "finalized",
            HostMessage::finalized(672_000, Duration::from_secs(21)),
        ),
        ("ack", HostMessage::kept(348_160)),
        (
            "token_expiring",
            HostMessage::token_expiring(Duration::from_mins(1)),
        ),
        (
            "renewed",
            HostMessage::renewed(Some(Duration::from_hours(1))),
        ),
        (
            "renewal_refused",
            HostMessage::renewal_refused("auth_failed", expired, false),
        ),
        (
            "notice",
            HostMessage::notice("plan_expires", "your plan ends in three days"),
        ),
        (
            "refused",
            HostMessage::error("auth_failed", expired, 4001, false, None, SESSION),
        ),
        (
            "try again",
            HostMessage::error("draining", draining, 1001, true, after, SESSION),
        ),
    ];
    let said: Vec<_> = said
        .iter()
        .map(|(title, message)| {
            let value = serde_json::from_slice(&message.to_json()).unwrap();
            (name(message).to_owned(), (*title).to_owned(), value)
        })
        .collect();
    assert_eq!(said, examples("send"));
    assert_eq!(examples("send-api"), examples("send"));
    let values: Vec<_> = said
        .iter()
        .map(|(name, _, value)| (name.as_str(), value.clone()))
        .collect();
    validate(&values);
}

#[test]
fn the_examples_of_a_client_are_understood() {
    let mut names = Vec::new();
    for (name, title, value) in examples("receive") {
        let text = value.to_string();
        if name == "handshake" {
            let handshake = Handshake::parse(&text).unwrap();
            assert_eq!(handshake.has(RESUME), title == "features", "{text}");
            continue;
        }
        let understood = ClientMessage::parse(text.as_bytes());
        assert_eq!(json!(understood), json!({"type": name}), "{text}");
        names.push(name);
    }
    assert_eq!(
        names,
        [
            "ping", "pong", "pause", "resume", "finalize", "close", "auth"
        ]
    );
    assert_eq!(examples("receive-api"), examples("receive"));
}
