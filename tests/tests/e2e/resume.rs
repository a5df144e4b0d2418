//! Clients that are cut off come back, and their streams go on.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::proxy::Proxy;
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

/// The path of a stream, with what leads back to it.
fn path(resume: Option<&str>) -> String {
    let path = meeting("m1", "mic", &token::good());
    resume.map_or(path.clone(), |token| format!("{path}&resume={token}"))
}

/// Reads the ack, and gives its token and where the stream goes on.
fn ready(ack: &Value) -> (String, Value) {
    assert_eq!(ack["status"], "ready", "{ack}");
    assert_eq!(ack["features"], json!(["ack", "resume"]), "{ack}");
    let token = ack["resume_token"].as_str().expect("a token");
    (token.to_owned(), ack["from_bytes"].clone())
}

/// An admitted stream of a peer that can be reset.
fn start(gateway: &Gateway, resume: Option<&str>) -> (Raw, String, Value) {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&path(resume));
    peer.write(&raw::text(&asking().to_string())).unwrap();
    let (token, from) = ready(&peer.message());
    (peer, token, from)
}

/// Sends audio and waits until all of it is acknowledged.
fn send(peer: &mut Raw, pcm: &[u8], total: usize) {
    for chunk in pcm.chunks(3200) {
        peer.send(OpCode::Data(Data::Binary), chunk);
    }
    loop {
        let message = peer.message();
        assert_eq!(message["type"], "ack", "{message}");
        if message["bytes"] == total {
            return;
        }
    }
}

/// What is said to whoever cannot go on.
fn refused(gateway: &Gateway, path: &str) {
    let mut client = Client::connect(Library::Ws, gateway, path);
    client.json(&asking());
    let frame = client.expect_refusal(4011, "resume_refused");
    assert_eq!(frame["retryable"], false);
}

/// The claim that the parked stream holds is its client's alone.
fn others_are_kept_out(gateway: &Gateway) {
    let mut other = Client::connect(Library::Ws, gateway, &path(None));
    other.expect_refusal(4002, "ingest_exists");
}

with_both_clients! {
    fn a_stream_that_is_cut_goes_on_without_a_gap(library) {
        let gateway = Gateway::start(&Config::ingest());
        let proxy = Proxy::start(gateway.address());
        let clip = speech::long_clip();
        let mut client = Client::idle(library);
        let mut token = None;
        let mut from = 0;
        // Cut at places that nobody chose: what had come by then is said.
        for _ in 0..4 {
            client.open_url(&format!("ws://{}{}", proxy.address(), path(token.as_deref())), &[]);
            client.json(&asking());
            let ack = client.message();
            let (next, from_bytes) = ready(&ack);
            if token.is_some() {
                from = usize::try_from(from_bytes.as_u64().expect("from_bytes")).unwrap();
            } else {
                assert_eq!(from_bytes, Value::Null);
            }
            token = Some(next);
            assert!(from < clip.pcm.len());
            for chunk in clip.pcm[from..].chunks(3200).take(20) {
                client.binary(chunk);
            }
            while client.message()["type"] != "ack" {}
            proxy.reset_all();
            while !matches!(client.event(), sluice_tests::client::Event::Close(1006, _)) {}
        }
        client.open_url(&format!("ws://{}{}", proxy.address(), path(token.as_deref())), &[]);
        client.json(&asking());
        let (_, from_bytes) = ready(&client.message());
        let from = usize::try_from(from_bytes.as_u64().expect("from_bytes")).unwrap();
        for chunk in clip.pcm[from..].chunks(3200) {
            client.binary(chunk);
        }
        client.json(&json!({"type": "finalize"}));
        let finalized = loop {
            let message = client.message();
            if message["type"] != "ack" {
                break message;
            }
        };
        assert_eq!((&finalized["status"], &finalized["bytes"]), (&json!("finalized"), &json!(clip.pcm.len())));
        let (_, pcm) = read_wav(&gateway.recording());
        assert!(pcm == clip.pcm, "{} of {} bytes", pcm.len(), clip.pcm.len());
    }
}

#[test]
fn a_parked_stream_keeps_its_claims_and_its_token_works_once() {
    let gateway = Gateway::start(&Config::ingest());
    let clip = speech::long_clip();
    let (mut peer, first, _) = start(&gateway, None);
    send(&mut peer, &clip.pcm[..32_000], 32_000);
    peer.reset();
    others_are_kept_out(&gateway);
    let (mut peer, second, from) = start(&gateway, Some(&first));
    assert_eq!(from, 32_000);
    assert_ne!(first, second);
    refused(&gateway, &path(Some(&first)));
    send(&mut peer, &clip.pcm[32_000..64_000], 64_000);
    peer.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    assert_eq!(peer.message()["status"], "finalized");
    peer.wait_for_end();
    // Nothing is left: the stream is over, and its token with it.
    refused(&gateway, &path(Some(&second)));
    let (_, pcm) = read_wav(&gateway.recording());
    assert!(pcm == clip.pcm[..64_000]);
}

#[test]
fn a_half_dead_connection_does_not_keep_its_own_client_out() {
    let gateway = Gateway::start(&Config::ingest());
    let (mut old, token, _) = start(&gateway, None);
    send(&mut old, &[1; 32_000], 32_000);
    // It never ended, and it is told why it does now.
    let (mut peer, _, from) = start(&gateway, Some(&token));
    assert_eq!(from, 32_000);
    assert_eq!(old.message()["code"], "superseded");
    assert_eq!(
        old.frame().expect("a Close").close().map(|(code, _)| code),
        Some(4003)
    );
    peer.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    assert_eq!(peer.message()["bytes"], 32_000);
}

#[test]
fn a_stream_is_resumed_by_its_own_client_only() {
    let gateway = Gateway::start(&Config::ingest());
    let (mut peer, token, _) = start(&gateway, None);
    send(&mut peer, &[1; 32_000], 32_000);
    peer.reset();
    let of = |user: &str| token::sign(&token::claims_with(json!({"user_id": user})));
    let resuming = |meeting_id: &str, source: &str, user: &str| {
        format!("{}&resume={token}", meeting(meeting_id, source, &of(user)))
    };
    refused(&gateway, &resuming("m1", "mic", "u-2"));
    refused(&gateway, &resuming("m2", "mic", "u-1"));
    refused(&gateway, &resuming("m1", "sys", "u-1"));
    refused(
        &gateway,
        &path(Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
    );
    // No policy is passed by: a token that is bad is bad.
    let mut client = Client::connect(
        Library::Ws,
        &gateway,
        &format!("{}&resume={token}", meeting("m1", "mic", "bad")),
    );
    client.expect_refusal(4001, "auth_failed");
    let (_peer, _, from) = start(&gateway, Some(&token));
    assert_eq!(from, 32_000);
    let log = gateway.output().text();
    assert!(!log.contains(&token), "{log}");
}

#[test]
fn a_stream_whose_client_does_not_come_back_ends_and_is_kept() {
    let gateway = Gateway::start(&Config::ingest().limit("resume_grace", "300ms"));
    let clip = speech::clip();
    let (mut peer, token, _) = start(&gateway, None);
    send(&mut peer, &clip.pcm[..32_000], 32_000);
    peer.reset();
    gateway.output().find("the end of the grace", |line| {
        line.contains("a parked stream ended").then_some(())
    });
    refused(&gateway, &path(Some(&token)));
    let (_, pcm) = read_wav(&gateway.recording());
    assert!(pcm == clip.pcm[..32_000]);
    // The claim is free again.
    eventually("a new stream", || {
        let mut client = Client::connect(Library::Ws, &gateway, &path(None));
        client.handshake();
        (client.message()["status"] == "ready").then_some(())
    });
}

#[test]
fn where_there_is_no_room_or_no_grace_a_stream_ends_with_its_connection() {
    let none = Config::ingest().limit("resume_grace", "0s");
    let gateway = Gateway::start(&none);
    let mut client = Client::connect(Library::Ws, &gateway, &path(None));
    client.json(&asking());
    let ack = client.message();
    assert_eq!(
        (&ack["features"], &ack["resume_token"]),
        (&json!(["ack"]), &Value::Null)
    );

    let full = Config::ingest().set("server", "max_parked", json!(0));
    let gateway = Gateway::start(&full);
    let (mut peer, token, _) = start(&gateway, None);
    send(&mut peer, &[1; 32_000], 32_000);
    peer.reset();
    gateway.output().find("its end", |line| {
        line.contains("connection ended").then_some(())
    });
    refused(&gateway, &path(Some(&token)));
}

#[test]
fn a_gateway_that_stops_seals_the_streams_that_wait() {
    let mut gateway = Gateway::start(&Config::ingest());
    let (mut peer, _, _) = start(&gateway, None);
    send(&mut peer, &[1; 32_000], 32_000);
    peer.reset();
    gateway.output().find("its end", |line| {
        line.contains("connection ended").then_some(())
    });
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.wait().success());
    assert_eq!(read_wav(&gateway.recording()).1.len(), 32_000);
}
