//! Streams go on in the process that comes after the one they began in.

use base::credentials::RESUME_PREFIX;
use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::backend;
use sluice_tests::client::{Client, Event, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::machine::FailingWrites;
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, read_wav};
use sluice_tests::{eventually, token, with_both_clients};
use tungstenite::protocol::frame::coding::{Data, OpCode};

fn asking() -> Value {
    let mut handshake = handshake();
    handshake["features"] = json!(["ack", "resume"]);
    // The URL says it.
    handshake.as_object_mut().unwrap().remove("source");
    handshake
}

/// A job whose operators can look.
fn watched() -> Config {
    Config::ingest().set("server", "admin_listen", json!("127.0.0.1:0"))
}

fn path(resume: Option<&str>) -> String {
    let path = backend::path("confirm");
    resume.map_or(path.clone(), |token| format!("{path}&resume={token}"))
}

/// Opens a stream, or goes on with one. Gives the token and where it goes on.
fn open(client: &mut Client, gateway: &Gateway, resume: Option<&str>) -> (String, usize) {
    client.open_url(&gateway.url(&path(resume)), &[]);
    client.json(&asking());
    let ack = client.message();
    assert_eq!(ack["status"], "ready", "{ack}");
    assert_eq!(ack["features"], json!(["ack", "resume"]), "{ack}");
    let token = ack["resume_token"].as_str().expect("a token").to_owned();
    let from = ack["from_bytes"].as_u64().unwrap_or_default();
    assert_eq!(resume.is_some(), ack["from_bytes"].is_u64(), "{ack}");
    (token, usize::try_from(from).unwrap())
}

/// Sends audio from this byte on, in frames of a tenth of a second, and waits until some of it is
/// safe. Gives the bytes that are.
fn send_some(client: &mut Client, audio: &[u8], from: usize) -> usize {
    for chunk in audio.chunks(3200) {
        client.binary(chunk);
    }
    loop {
        let ack = client.message();
        assert_eq!(ack["type"], "ack", "{ack}");
        let safe = usize::try_from(ack["bytes"].as_u64().expect("bytes")).unwrap();
        if safe > from {
            return safe;
        }
    }
}

/// Sends the rest, finalizes, and expects that all of it is there.
fn finish(client: &mut Client, audio: &[u8], from: usize) {
    for chunk in audio[from..].chunks(3200) {
        client.binary(chunk);
    }
    client.json(&json!({"type": "finalize"}));
    let finalized = loop {
        let message = client.message();
        if message["type"] != "ack" {
            break message;
        }
    };
    let expected = (&json!("finalized"), &json!(audio.len()));
    assert_eq!(
        (&finalized["status"], &finalized["bytes"]),
        expected,
        "{finalized}"
    );
}

/// Whether this text is in the store's file.
fn stored(gateway: &Gateway, text: &str) -> bool {
    let stored = std::fs::read(gateway.data().join("streams.redb")).expect("a store");
    let mut parts = stored.windows(text.len());
    parts.any(|part| part == text.as_bytes())
}

fn is_whole(gateway: &Gateway, audio: &[u8]) {
    let (_, pcm) = read_wav(&gateway.recording());
    assert!(pcm == audio, "{} of {} bytes", pcm.len(), audio.len());
}

/// Kills the gateway under its client, and starts another one in its place.
fn kill(gateway: &mut Gateway, client: &mut Client) {
    gateway.kill();
    assert_eq!(closed(client), 1006);
    gateway.start_again();
}

/// Reads up to the end, and gives its code.
fn closed(client: &mut Client) -> u16 {
    loop {
        if let Event::Close(code, _) = client.event() {
            return code;
        }
    }
}

fn refused(gateway: &Gateway, path: &str, code: u16, name: &str) {
    let mut client = Client::connect(Library::Ws, gateway, path);
    client.json(&asking());
    client.expect_refusal(code, name);
}

with_both_clients! {
    fn a_stream_goes_on_in_the_same_recording_however_often_its_gateway_is_killed(library) {
        let mut gateway = Gateway::start(&Config::ingest());
        let clip = speech::long_clip();
        let mut client = Client::idle(library);
        let (mut token, mut from) = open(&mut client, &gateway, None);
        for _ in 0..3 {
            let told = send_some(&mut client, &clip.pcm[from..][..64_000], from);
            kill(&mut gateway, &mut client);
            (token, from) = open(&mut client, &gateway, Some(&token));
            assert!(from >= told, "{told} bytes were safe, and it goes on at {from}");
        }
        finish(&mut client, &clip.pcm, from);
        is_whole(&gateway, &clip.pcm);
    }

    fn a_stream_goes_on_after_a_deployment_has_stopped_its_gateway(library) {
        let config = Config::ingest().set("server", "drain_timeout", json!("0s"));
        let mut gateway = Gateway::start(&config);
        let clip = speech::long_clip();
        let mut client = Client::idle(library);
        let (token, _) = open(&mut client, &gateway, None);
        let told = send_some(&mut client, &clip.pcm[..64_000], 0);
        gateway.signal(Signal::TERM);
        assert_eq!(closed(&mut client), 1001);
        assert!(gateway.wait().success());
        gateway.start_again();
        let (_, from) = open(&mut client, &gateway, Some(&token));
        assert!(from >= told);
        finish(&mut client, &clip.pcm, from);
        is_whole(&gateway, &clip.pcm);
    }
}

#[test]
fn a_client_that_comes_back_while_its_gateway_stops_is_told_to_come_back_later() {
    let config = Config::ingest().set("server", "drain_timeout", json!("60s"));
    let mut gateway = Gateway::start(&config);
    // It keeps the gateway from its end.
    let mut other = Client::connect(
        Library::Ws,
        &gateway,
        &meeting("m2", "mic", &token::of_user("u-2")),
    );
    other.handshake();
    other.expect_ack();
    let (mut peer, ack) = greet(&gateway, None);
    peer.send(OpCode::Data(Data::Binary), &[1; 32_000]);
    while peer.message()["bytes"] != 32_000 {}
    peer.reset();
    let parked = |line: &str| line.contains("connection ended").then_some(());
    gateway.output().find("the end of the connection", parked);
    gateway.signal(Signal::TERM);
    let draining = |line: &str| line.contains("a parked stream ended").then_some(());
    gateway.output().find("the end of the stream", draining);
    let resume = ack["resume_token"].as_str();
    let mut early = Client::connect(Library::Ws, &gateway, &path(resume));
    early.json(&asking());
    let frame = early.expect_refusal(1001, "draining");
    assert_eq!(frame["retryable"], true, "{frame}");
    other.json(&json!({"type": "close"}));
    assert!(gateway.wait().success());
    gateway.start_again();
    let (_, ack) = greet(&gateway, resume);
    assert_eq!(ack["from_bytes"], 32_000, "{ack}");
}

#[test]
fn the_claim_of_a_stream_is_still_its_client_s_after_its_gateway_was_killed() {
    let mut gateway = Gateway::start(&watched());
    let mut client = Client::idle(Library::Ws);
    let (token, _) = open(&mut client, &gateway, None);
    send_some(&mut client, &[1; 32_000], 0);
    kill(&mut gateway, &mut client);
    let others = meeting("m1", "mic", &token::of_user("u-2"));
    refused(&gateway, &others, 4002, "ingest_exists");
    let (_, listed) = gateway.admin("GET /sessions");
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["sessions"][0]["stage"], "parked", "{listed}");
    assert_eq!(listed["sessions"][0]["user"], "u-1", "{listed}");
    let (_, from) = open(&mut client, &gateway, Some(&token));
    finish(&mut client, &[1; 32_000], from);
    assert_eq!(closed(&mut client), 1000);
    // It ended, and so did its claim.
    gateway.kill();
    gateway.start_again();
    let mut other = Client::connect(Library::Ws, &gateway, &others);
    other.json(&asking());
    assert_eq!(other.message()["status"], "ready");
}

#[test]
fn only_its_own_client_goes_on_with_a_stream_after_a_restart_and_with_its_last_token() {
    let mut gateway = Gateway::start(&Config::ingest());
    let mut client = Client::idle(Library::Ws);
    let (first, _) = open(&mut client, &gateway, None);
    send_some(&mut client, &[1; 32_000], 0);
    kill(&mut gateway, &mut client);
    let (second, from) = open(&mut client, &gateway, Some(&first));
    send_some(&mut client, &[1; 32_000], from);
    kill(&mut gateway, &mut client);
    let foreign = meeting("m1", "mic", &token::of_user("u-2"));
    let foreign = format!("{foreign}&resume={second}");
    refused(&gateway, &foreign, 4011, "resume_refused");
    let (_, then) = open(&mut client, &gateway, Some(&second));
    assert!(then > from, "{from}, {then}");
    // The first is worth nothing once the second was used.
    refused(&gateway, &path(Some(&first)), 4011, "resume_refused");
}

#[test]
fn no_token_is_on_the_disk() {
    let gateway = Gateway::start(&Config::ingest());
    let mut client = Client::idle(Library::Ws);
    let (token, _) = open(&mut client, &gateway, None);
    let holds = |text: &str| stored(&gateway, text);
    assert!(holds("u-1"), "the stream is not in the store");
    assert!(!holds(&token) && !holds(token.strip_prefix(RESUME_PREFIX).unwrap_or(&token)));
}

#[test]
fn a_stream_whose_client_stays_away_is_over_when_the_grace_period_is_and_frees_its_claim() {
    let config = Config::ingest().limit("resume_grace", "1s");
    let mut gateway = Gateway::start(&config);
    let mut client = Client::idle(Library::Ws);
    let (token, _) = open(&mut client, &gateway, None);
    send_some(&mut client, &[1; 32_000], 0);
    kill(&mut gateway, &mut client);
    let line = gateway.output().find("the end of the stream", |line| {
        line.contains("its client did not come back").then_some(())
    });
    line.expect("the gateway runs");
    refused(&gateway, &path(Some(&token)), 4011, "resume_refused");
    let others = meeting("m1", "mic", &token::of_user("u-2"));
    let mut other = Client::connect(Library::Ws, &gateway, &others);
    other.json(&asking());
    assert_eq!(other.message()["status"], "ready");
}

#[test]
fn a_stream_that_is_really_gone_is_refused_and_said_to_be_lost() {
    let mut gateway = Gateway::start(&watched());
    let mut client = Client::idle(Library::Ws);
    let (token, _) = open(&mut client, &gateway, None);
    send_some(&mut client, &[1; 32_000], 0);
    gateway.kill();
    std::fs::remove_file(gateway.recording()).expect("a recording");
    gateway.start_again();
    refused(&gateway, &path(Some(&token)), 4011, "resume_refused");
    assert!(
        gateway
            .output()
            .text()
            .contains("a stream of the earlier process is lost")
    );
    assert_eq!(
        gateway.metric("sluice_restored_streams_total{result=\"lost\"}"),
        1.0
    );
}

#[test]
fn a_store_that_is_broken_is_set_aside_and_the_gateway_serves() {
    let mut gateway = Gateway::start(&Config::ingest());
    let store = gateway.data().join("streams.redb");
    gateway.kill();
    std::fs::write(&store, "no store").expect("a file");
    gateway.start_again();
    let mut client = Client::idle(Library::Ws);
    open(&mut client, &gateway, None);
    assert!(gateway.output().text().contains("cannot be resumed"));
    let aside = gateway.data().join("streams.broken");
    assert_eq!(std::fs::read(aside).expect("set aside"), b"no store");
}

#[test]
fn a_disk_that_fails_costs_a_stream_its_way_back_and_nothing_else_and_the_ack_says_so() {
    let faults = FailingWrites::below("streams.redb");
    let gateway = Gateway::start_as(&watched(), |command| faults.within(command));
    let mut client = Client::idle(Library::Ws);
    open(&mut client, &gateway, None);
    send_some(&mut client, &[1; 32_000], 0);
    faults.begin("write", Errno::NOSPC);
    let mut other = Client::connect(
        Library::Ws,
        &gateway,
        &meeting("m2", "mic", &token::of_user("u-2")),
    );
    other.json(&asking());
    let ack = other.message();
    assert_eq!(
        (&ack["status"], &ack["features"]),
        (&json!("ready"), &json!(["ack"])),
        "{ack}"
    );
    assert_eq!(ack.get("resume_token"), None, "{ack}");
    other.binary(&[1; 32_000]);
    while other.message()["type"] != "ack" {}
    assert!(gateway.metric("sluice_store_failures_total") >= 1.0);
    // It is whole again without a restart.
    faults.end();
    let mut third = Client::connect(
        Library::Ws,
        &gateway,
        &meeting("m3", "mic", &token::of_user("u-3")),
    );
    third.json(&asking());
    assert_eq!(third.message()["features"], json!(["ack", "resume"]));
}

#[test]
fn a_client_that_finalized_and_was_not_told_is_told_by_the_next_gateway() {
    let mut gateway = Gateway::start(&Config::ingest());
    let (mut peer, ack) = greet(&gateway, None);
    peer.send(OpCode::Data(Data::Binary), &[1; 32_000]);
    peer.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    is_confirmed(&mut peer);
    // The Close is not answered: the client may not have read what came before it.
    eventually("the end in the store", || {
        stored(&gateway, r#""complete":32000"#).then_some(())
    });
    gateway.kill();
    gateway.start_again();
    let (mut peer, ack) = greet(&gateway, ack["resume_token"].as_str());
    assert_eq!(ack["from_bytes"], 32_000);
    is_confirmed(&mut peer);
}

/// A peer that answers no Close by itself.
fn greet(gateway: &Gateway, resume: Option<&str>) -> (Raw, Value) {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&path(resume));
    peer.write(&raw::text(&asking().to_string())).unwrap();
    let ack = peer.message();
    assert_eq!(ack["status"], "ready", "{ack}");
    (peer, ack)
}

fn is_confirmed(peer: &mut Raw) {
    let finalized: Value = loop {
        let frame = peer.frame().expect("a message");
        let text = String::from_utf8(frame.payload).expect("JSON");
        // Acks and Pings come before it.
        if text.contains("finalized") {
            break serde_json::from_str(&text).expect("JSON");
        }
    };
    assert_eq!(finalized["bytes"], 32_000, "{finalized}");
}
