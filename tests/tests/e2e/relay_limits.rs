//! Who holds whom back on a relayed stream, and what a route allows.

use std::time::Duration;

use serde_json::json;
use sluice_tests::backend::{Backend, path, relaying};
use sluice_tests::client::{Client, Library, handshake};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech;

const MIB: u64 = 1024 * 1024;

/// An admitted stream of a peer that does only what the test does.
fn stream(gateway: &Gateway, orders: &str) -> Raw {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&path(orders));
    peer.write(&raw::text(&handshake().to_string())).unwrap();
    assert_eq!(peer.message()["status"], "ready");
    peer
}

#[test]
fn a_backend_that_does_not_read_holds_the_client_back_and_not_in_memory() {
    let backend = Backend::start(Library::Websockets);
    let gateway = Gateway::start(&relaying(backend.address()).limit("write_timeout", "3s"));
    let before = gateway.memory();
    let mut peer = stream(&gateway, "stall");
    let mut writer = peer.writer();
    writer
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let frame = raw::binary(&[0; 64 * 1024]);
    let mut sent = 0;
    while std::io::Write::write_all(&mut writer, &frame).is_ok() {
        sent += frame.len() as u64;
        assert!(sent < 500 * MIB, "nothing holds the client back");
    }
    let grown = gateway.memory().saturating_sub(before);
    assert!(grown < 8 * MIB, "{grown} bytes more for {sent} sent");
    // What the kernels hold is all that was taken: in the end the client is told.
    assert_eq!(peer.message()["code"], "upstream_unavailable");
}

#[test]
fn a_client_that_does_not_read_holds_the_backend_back_and_loses_nothing() {
    const MESSAGES: u64 = 60_000;
    let backend = Backend::start(Library::Websockets);
    let gateway = Gateway::start(&relaying(backend.address()));
    let before = gateway.memory();
    let mut peer = stream(&gateway, &format!("flood:{MESSAGES}"));
    for number in 0..MESSAGES {
        if number == MESSAGES / 2 {
            // 30 MB do not fit into what the kernels hold: the backend waits.
            assert!(backend.events("flooded").is_empty());
        }
        assert_eq!(peer.message()["number"], number);
    }
    backend.event("flooded");
    let grown = gateway.memory().saturating_sub(before);
    assert!(grown < 8 * MIB, "{grown} bytes more");
}

#[test]
fn audio_that_is_far_ahead_of_real_time_ends_its_stream_and_is_kept() {
    let gateway = Gateway::start(&Config::ingest().limit("max_ahead", "5s"));
    let clip = speech::long_clip();
    let mut client = Client::connect(Library::Ws, &gateway, &path(""));
    client.handshake();
    client.expect_ack();
    let second = 32_000;
    client.send_audio(&clip.pcm[..4 * second]);
    for _ in 0..10 {
        client.binary(&clip.pcm[..second]);
    }
    let frame = client.expect_refusal(4009, "stream_limit");
    assert_eq!(frame["retryable"], false);
    let (_, pcm) = speech::read_wav(&gateway.recording());
    assert!(pcm.len() > 5 * second, "{} bytes", pcm.len());
}

#[test]
fn a_stream_that_lasts_too_long_is_ended() {
    let gateway = Gateway::start(&Config::ingest().limit("max_duration", "500ms"));
    let mut client = Client::connect(Library::Ws, &gateway, &path(""));
    client.handshake();
    client.expect_ack();
    client.json(&json!({"type": "ping"}));
    assert_eq!(client.message()["type"], "pong");
    let frame = client.expect_refusal(4009, "stream_limit");
    assert_eq!(frame["retryable"], true);
}
