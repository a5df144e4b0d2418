//! Clients that are cut off come back, and their streams go on.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};
use sluice_tests::backend::{self, Backend, relaying};
use sluice_tests::client::{Client, Event, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::proxy::Proxy;
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, read_wav};
use sluice_tests::{eventually, token, with_both_clients};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

fn asking() -> Value {
    let mut handshake = handshake();
    handshake["features"] = json!(["ack", "resume"]);
    // The URL says it.
    handshake.as_object_mut().unwrap().remove("source");
    handshake
}

/// The path of a stream, with what leads back to it. A backend confirms what it
/// has.
fn path(resume: Option<&str>) -> String {
    let path = backend::path("confirm");
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

/// Waits until so many connections have ended: those of streams that wait.
fn ended(gateway: &Gateway, count: usize) {
    eventually("the end of connections", || {
        let lines = gateway.output().lines();
        let ended = |line: &&String| line.contains("connection ended");
        (lines.iter().filter(ended).count() >= count).then_some(())
    });
}

/// Finalizes, and answers the Close.
fn finalize(mut peer: Raw, bytes: usize) {
    peer.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    confirmed(&mut peer, bytes);
    peer.send(OpCode::Control(Control::Close), &1000_u16.to_be_bytes());
    peer.wait_for_end();
}

/// What comes next must be the confirmation, and its Close.
fn confirmed(peer: &mut Raw, bytes: usize) {
    let finalized = loop {
        let message = peer.message();
        if message["type"] != "ack" {
            break message;
        }
    };
    assert_eq!(
        (&finalized["status"], &finalized["bytes"]),
        (&json!("finalized"), &json!(bytes))
    );
    let close = peer.frame().expect("a Close");
    assert_eq!(close.close().map(|(code, _)| code), Some(1000));
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
    let others = meeting("m1", "mic", &token::of_user("u-2"));
    let mut other = Client::connect(Library::Ws, gateway, &others);
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
            while !matches!(client.event(), Event::Close(1006, _)) {}
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

    fn a_backend_gets_one_stream_without_a_gap_and_its_words_wait_for_the_client(library) {
        let backend = Backend::start(library);
        let gateway = Gateway::start(&resumable(&backend));
        let proxy = Proxy::start(gateway.address());
        let clip = speech::long_clip();
        let mut shouting = Client::idle(library);
        shouting.open_url(&format!("ws://{}/?do=shout", backend.address()), &[]);
        let mut client = Client::idle(library);
        let mut token: Option<String> = None;
        for cut in 0..4 {
            client.open_url(&format!("ws://{}{}", proxy.address(), path(token.as_deref())), &[]);
            client.json(&asking());
            let (next, from) = ready(&client.message());
            if token.is_some() {
                // What was said while it was away comes first, and in order.
                for number in 0..3 {
                    assert_eq!(said(&mut client), json!({"type": "transcript", "cut": cut, "number": number}));
                }
            }
            token = Some(next);
            let from = from.as_u64().map_or(0, |from| usize::try_from(from).unwrap());
            if cut == 3 {
                for chunk in clip.pcm[from..].chunks(3200) {
                    client.binary(chunk);
                }
                break;
            }
            for chunk in clip.pcm[from..].chunks(3200).take(20) {
                client.binary(chunk);
            }
            while client.message()["type"] != "ack" {}
            proxy.reset_all();
            while !matches!(client.event(), Event::Close(1006, _)) {}
            ended(&gateway, cut + 1);
            for number in 0..3 {
                let said = json!({"type": "transcript", "cut": cut + 1, "number": number});
                shouting.json(&said);
                assert_eq!(shouting.message(), said);
            }
        }
        client.json(&json!({"type": "finalize"}));
        assert_eq!(said(&mut client)["text"], "the last words");
        assert_eq!(said(&mut client)["bytes"], clip.pcm.len());
        let end = backend.event("end");
        assert_eq!(end["sha256"], base::text::hex(digest(&SHA256, &clip.pcm).as_ref()));
        assert_eq!(backend.events("open").len(), 1);
    }
}

/// The next message that is no receipt.
fn said(client: &mut Client) -> Value {
    loop {
        let message = client.message();
        if message["type"] != "ack" {
            return message;
        }
    }
}

/// A job whose backend confirms what it has.
fn resumable(backend: &Backend) -> Config {
    let confirmed = json!("confirmed");
    relaying(backend.address()).set("upstreams.recordings", "receipts", confirmed)
}

#[test]
fn a_stream_whose_backend_goes_while_its_client_is_away_is_over_at_once() {
    let mut backend = Backend::start(Library::Ws);
    let gateway = Gateway::start(&resumable(&backend));
    let (peer, token, _) = start(&gateway, None);
    peer.reset();
    ended(&gateway, 1);
    others_are_kept_out(&gateway);
    backend.kill();
    let line = gateway.output().find("the end of the stream", |line| {
        line.contains("its upstream was lost").then_some(())
    });
    line.expect("the gateway runs");
    refused(&gateway, &path(Some(&token)));
}

#[test]
fn an_ack_that_is_lost_does_not_lock_its_client_out() {
    let gateway = Gateway::start(&Config::ingest());
    let (mut peer, token, _) = start(&gateway, None);
    send(&mut peer, &[1; 32_000], 32_000);
    peer.reset();
    ended(&gateway, 1);
    for lost in 0..3 {
        // It gets an ack, and is cut off before it has seen it.
        let (peer, _, from) = start(&gateway, Some(&token));
        assert_eq!(from, 32_000);
        peer.reset();
        ended(&gateway, lost + 2);
    }
    let (mut peer, _, from) = start(&gateway, Some(&token));
    assert_eq!(from, 32_000);
    send(&mut peer, &[2; 3200], 35_200);
    finalize(peer, 35_200);
}

#[test]
fn a_connection_that_went_within_a_message_is_lost_and_its_stream_waits() {
    let config = Config::ingest().limit("message_timeout", "300ms");
    let gateway = Gateway::start(&config);
    let (mut peer, token, _) = start(&gateway, None);
    send(&mut peer, &[1; 32_000], 32_000);
    let message = raw::binary(&[2; 3200]);
    peer.write(&message[..message.len() / 2]).unwrap();
    ended(&gateway, 1);
    let (peer, _, from) = start(&gateway, Some(&token));
    assert_eq!(from, 32_000);
    finalize(peer, 32_000);
}

/// A connection that came back, was let in, and has yet to send its handshake.
fn silent(gateway: &Gateway, token: &str) -> Raw {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&path(Some(token)));
    peer.send(OpCode::Control(Control::Ping), b"");
    let answer = peer.frame().expect("a Pong");
    assert_eq!(answer.opcode, OpCode::Control(Control::Pong));
    peer
}

#[test]
fn a_retry_that_dies_before_its_handshake_does_not_block_the_next() {
    let gateway = Gateway::start(&Config::ingest());
    let (mut peer, token, _) = start(&gateway, None);
    send(&mut peer, &[1; 32_000], 32_000);
    peer.reset();
    let mut dead = silent(&gateway, &token);
    let (mut peer, _, from) = start(&gateway, Some(&token));
    assert_eq!(from, 32_000);
    // It comes to life, too late: its client has given it up.
    dead.write(&raw::text(&asking().to_string())).unwrap();
    assert_eq!(dead.message()["code"], "resume_refused");
    send(&mut peer, &[2; 3200], 35_200);
    finalize(peer, 35_200);
}

#[test]
fn what_is_limited_is_the_stream_and_not_its_connections() {
    let config = Config::ingest().limit("max_ahead", "60s");
    let gateway = Gateway::start(&config);
    // Twice 45 seconds of audio, as fast as it goes.
    let audio = [1; 45 * 32_000];
    let (mut peer, token, _) = start(&gateway, None);
    send(&mut peer, &audio, audio.len());
    peer.reset();
    let (mut peer, _, _) = start(&gateway, Some(&token));
    for chunk in audio.chunks(3200) {
        peer.send(OpCode::Data(Data::Binary), chunk);
    }
    let end = loop {
        let message = peer.message();
        if message["type"] != "ack" {
            break message;
        }
    };
    assert_eq!(end["code"], "stream_limit");
}

#[test]
fn a_stream_that_lasts_too_long_is_ended_however_often_its_client_comes_back() {
    let gateway = Gateway::start(&Config::ingest().limit("max_duration", "2s"));
    let (mut peer, mut token, _) = start(&gateway, None);
    // None of its connections lasts for two seconds: there is an
    // acknowledgement about twice in each.
    for connection in 0..40 {
        peer.send(OpCode::Data(Data::Binary), &[1; 3200]);
        let message = peer.message();
        if message["type"] != "ack" {
            assert_eq!(message["code"], "stream_limit");
            assert_eq!(message["retryable"], true);
            assert!(connection > 0, "it never came back");
            return;
        }
        peer.reset();
        (peer, token, _) = start(&gateway, Some(&token));
    }
    panic!("it goes on for ever");
}

#[test]
fn a_confirmation_that_was_lost_is_given_again() {
    let gateway = Gateway::start(&Config::ingest());
    let (mut peer, token, _) = start(&gateway, None);
    send(&mut peer, &[1; 32_000], 32_000);
    // It is cut off before it has seen an answer.
    peer.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    peer.wait_for_input();
    peer.reset();
    ended(&gateway, 1);
    // The stream is over, and keeps nobody out.
    let (mut fresh, _, _) = start(&gateway, None);
    fresh.write(&raw::text(r#"{"type":"close"}"#)).unwrap();
    assert_eq!(
        fresh.frame().and_then(|frame| Some(frame.close()?.0)),
        Some(1000)
    );
    let other = token::sign(&token::claims_with(json!({"user_id": "u-2"})));
    refused(
        &gateway,
        &format!("{}&resume={token}", meeting("m1", "mic", &other)),
    );
    for _ in 0..2 {
        let (mut peer, same, from) = start(&gateway, Some(&token));
        assert_eq!((same, from), (token.clone(), json!(32_000)));
        confirmed(&mut peer, 32_000);
        peer.reset();
    }
    assert_eq!(read_wav(&gateway.recording()).1.len(), 32_000);
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
    send(&mut peer, &clip.pcm[32_000..64_000], 64_000);
    // Who goes on knows the new one.
    refused(&gateway, &path(Some(&first)));
    finalize(peer, 64_000);
    // Nothing is left: the stream is over, and its token with it.
    ended(&gateway, 4);
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
    let (mut half_dead, token, _) = start(&gateway, None);
    send(&mut half_dead, &[1; 32_000], 32_000);
    // To go over from one connection to the next takes no room.
    let (mut peer, token, from) = start(&gateway, Some(&token));
    assert_eq!(from, 32_000);
    send(&mut peer, &[1; 3200], 35_200);
    peer.reset();
    ended(&gateway, 2);
    refused(&gateway, &path(Some(&token)));
}

#[test]
fn a_gateway_that_stops_seals_the_streams_that_wait() {
    let mut gateway = Gateway::start(&Config::ingest());
    let (mut peer, _, _) = start(&gateway, None);
    send(&mut peer, &[1; 32_000], 32_000);
    peer.reset();
    ended(&gateway, 1);
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.wait().success());
    assert_eq!(read_wav(&gateway.recording()).1.len(), 32_000);
}
