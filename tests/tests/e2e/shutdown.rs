//! SIGTERM, and what it means for live streams.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::json;
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, read_wav};
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
fn told_twice_it_stops_without_waiting_and_the_recording_is_whole() {
    let mut gateway = draining("10min");
    let clip = speech::clip();
    let mut client = start(Library::Ws, &gateway, "m1");
    client.send_audio(&clip.pcm);
    gateway.signal(Signal::TERM);
    gateway.signal(Signal::INT);
    gateway.wait();
    let (_, pcm) = read_wav(&gateway.recording());
    assert!(clip.pcm.starts_with(&pcm));
}
