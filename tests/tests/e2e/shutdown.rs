//! SIGTERM, and what it means for live streams.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::json;
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, read_wav};
use sluice_tests::tls::Authority;
use sluice_tests::{eventually, token, with_both_clients};

fn draining(time: &str) -> Gateway {
    Gateway::start(&Config::ingest().set("server", "drain_timeout", json!(time)))
}

fn start(library: Library, gateway: &Gateway, meeting_id: &str) -> Client {
    let mut client = Client::connect(
        library,
        gateway,
        &meeting(meeting_id, "mic", &token::good()),
    );
    client.handshake();
    client.expect_ack();
    client
}

with_both_clients! {
    fn a_stream_that_outlives_the_drain_is_told_and_sealed(library) {
        for signal in [Signal::TERM, Signal::INT] {
            let mut gateway = draining("200ms");
            let clip = speech::clip();
            let mut client = start(library, &gateway, "m1");
            client.send_audio(&clip.pcm);
            gateway.signal(signal);
            let frame = client.expect_refusal(1001, "draining");
            assert_eq!(frame["retryable"], true);
            assert!(frame["retry_after_ms"].is_u64(), "{frame}");
            assert_eq!(gateway.wait().code(), Some(0));
            assert_eq!(read_wav(&gateway.recording()).1, clip.pcm);
        }
    }

    fn a_stream_may_finish_while_the_gateway_drains(library) {
        let mut gateway = draining("60s");
        let clip = speech::clip();
        let mut client = start(library, &gateway, "m1");
        gateway.signal(Signal::TERM);
        client.send_audio(&clip.pcm);
        client.finalize(clip.pcm.len(), clip.pcm.len() / 32);
        assert_eq!(gateway.wait().code(), Some(0));
        assert_eq!(read_wav(&gateway.recording()).1, clip.pcm);
    }
}

#[test]
fn newcomers_are_told_to_come_back_while_the_gateway_drains() {
    let mut gateway = draining("60s");
    let mut client = start(Library::Ws, &gateway, "m1");
    gateway.signal(Signal::TERM);
    // A newcomer may still get in before the signal has arrived.
    let mut number = 0;
    eventually("a newcomer that is refused", || {
        number += 1;
        let mut newcomer = Client::connect(
            Library::Ws,
            &gateway,
            &meeting(&format!("new-{number}"), "mic", &token::good()),
        );
        newcomer.handshake();
        let answer = newcomer.message();
        (answer["type"] == "error").then(|| assert_eq!(answer["code"], "draining"))
    });
    client.finalize(0, 0);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn clients_that_are_sent_away_together_are_asked_back_at_different_times() {
    let config = Config::open().set("server", "drain_timeout", json!("1ms"));
    let mut gateway = Gateway::start(&config);
    let mut clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = Raw::connect(gateway.address());
            client.upgrade("/ingest/m1");
            client.write(&raw::text(&handshake().to_string())).unwrap();
            assert_eq!(client.message()["type"], "handshake-ack");
            client
        })
        .collect();
    gateway.signal(Signal::TERM);
    let waits: BTreeSet<_> = clients
        .iter_mut()
        .map(|client| {
            let frame = client.message();
            assert_eq!(frame["code"], "draining");
            let wait = frame["retry_after_ms"].as_u64().expect("when to come back");
            assert!((1000..5000).contains(&wait), "{frame}");
            wait
        })
        .collect();
    assert!(waits.len() > 10, "{waits:?}");
    drop(clients);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_gateway_without_streams_stops_at_once() {
    let mut gateway = draining("10min");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn whoever_has_not_finished_its_request_is_told_that_the_gateway_stops() {
    let authority = Authority::new();
    let config = Config::open().set("server", "drain_timeout", json!("1ms"));
    for config in [config.clone(), authority.secure(config)] {
        let secure = config.to_string().contains("tls_key");
        let mut gateway = Gateway::start(&config);
        let mut peer = Raw::connect(gateway.address());
        let request = raw::upgrade_request("/echo");
        let (first, rest) = request.split_at(if secure { 0 } else { 20 });
        peer.write(first.as_bytes()).unwrap();
        // They are accepted in their order: the first is there when the second
        // has its answer.
        let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(Raw::connect(gateway.address()).request(plain).status >= 400);
        gateway.signal(Signal::TERM);
        let closing = gateway.output().find("the end of the drain", |line| {
            line.contains("closing the remaining connections")
                .then_some(())
        });
        closing.expect("it waits for a client in the middle of its request");
        if secure {
            peer = peer.over_tls(&authority);
        }
        assert_eq!(peer.request(rest).status, 101);
        assert_eq!(peer.message()["code"], "draining");
        let close = peer.frame().expect("a Close");
        assert_eq!(close.close().map(|(code, _)| code), Some(1001));
        drop(peer);
        assert_eq!(gateway.wait().code(), Some(0));
    }
}

#[test]
fn told_twice_it_stops_without_waiting_and_what_was_acknowledged_is_there() {
    let mut gateway = draining("10min");
    let clip = speech::long_clip();
    let path = meeting("m1", "mic", &token::good());
    let mut client = Client::connect(Library::Ws, &gateway, &path);
    let mut handshake = handshake();
    handshake["features"] = json!(["ack"]);
    client.json(&handshake);
    assert_eq!(client.message()["status"], "ready");
    client.binary(&clip.pcm[..64_000]);
    let ack = client.message();
    assert_eq!(ack["type"], "ack", "{ack}");
    let safe = ack["bytes"].as_u64().expect("a number of bytes");
    assert!(safe > 0, "{ack}");
    // What comes after that has no word for it.
    client.binary(&clip.pcm[64_000..96_000]);
    gateway.signal(Signal::TERM);
    gateway.signal(Signal::INT);
    assert_eq!(gateway.wait().code(), Some(0));
    let told = gateway.output().text();
    assert!(told.contains("a second signal: stopping at once"), "{told}");
    let (_, pcm) = read_wav(&gateway.recording());
    assert!(pcm.len() as u64 >= safe, "{} of {safe}", pcm.len());
    assert!(clip.pcm.starts_with(&pcm));
}
