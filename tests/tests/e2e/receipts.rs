//! Clients that ask are told how much of their audio is safe.

use serde_json::{Value, json};
use sluice_tests::backend::{Backend, relaying};
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::{eventually, speech, token, with_both_clients};

fn asking(library: Library, gateway: &Gateway, orders: &str) -> (Client, Value) {
    let path = meeting("m1", "mic", &token::good());
    let mut client = Client::connect(library, gateway, &format!("{path}&do={orders}"));
    let mut handshake = handshake();
    handshake["features"] = json!(["ack", "from-the-future"]);
    client.json(&handshake);
    let ack = client.message();
    assert_eq!(ack["status"], "ready");
    let features = ack["features"].clone();
    (client, features)
}

/// How many bytes the next message acknowledges.
fn acked(client: &mut Client) -> usize {
    let message = client.message();
    let bytes = message["bytes"]
        .as_u64()
        .and_then(|bytes| usize::try_from(bytes).ok());
    let bytes = bytes.unwrap_or_else(|| panic!("no ack: {message}"));
    assert_eq!(message, json!({"type": "ack", "bytes": bytes}));
    bytes
}

with_both_clients! {
    fn what_is_acknowledged_survives_the_gateways_death(library) {
        let mut gateway = Gateway::start(&Config::ingest());
        let clip = speech::long_clip();
        let (mut client, features) = asking(library, &gateway, "");
        assert_eq!(features, json!(["ack"]));
        let mut safe = 0;
        for chunk in clip.pcm.chunks(16_000) {
            client.binary(chunk);
            // A batch is half a second: each is acknowledged, and nothing twice.
            let bytes = acked(&mut client);
            assert!(bytes > safe && bytes.is_multiple_of(16_000), "{bytes} after {safe}");
            safe = bytes;
            let (_, kept) = speech::read_wav(&gateway.recording());
            assert!(kept.len() >= safe && clip.pcm.starts_with(&kept), "{} of {safe}", kept.len());
            if safe >= 160_000 {
                break;
            }
        }
        gateway.kill();
        let (_, kept) = speech::read_wav(&gateway.recording());
        assert!(kept.len() >= safe && clip.pcm.starts_with(&kept), "{} of {safe}", kept.len());
    }

    fn a_backends_confirmations_become_the_gateways_own(library) {
        let backend = Backend::start(library);
        let config = relaying(backend.address()).set("upstreams.recordings", "receipts", json!("confirmed"));
        let gateway = Gateway::start(&config);
        let (mut client, features) = asking(library, &gateway, "confirm");
        assert_eq!(features, json!(["ack"]));
        for _ in 0..100 {
            client.binary(&[0; 6400]);
        }
        while acked(&mut client) < 640_000 {}
        client.json(&json!({"type": "close"}));
        assert_eq!(client.message()["type"], "transcript");
        client.expect_close(1000, "closed");
        // Who does not ask sees none of them.
        let mut other = Client::connect(library, &gateway, &format!("{}&do=confirm", meeting("m2", "mic", &token::good())));
        other.handshake();
        other.expect_ack();
        other.binary(&[0; 6400]);
        other.json(&json!({"type": "finalize"}));
        assert_eq!(other.message()["type"], "transcript");
        assert_eq!(other.message()["status"], "finalized");
    }

    fn what_is_on_its_way_to_the_backend_may_count_as_safe(library) {
        let backend = Backend::start(library);
        let config = relaying(backend.address()).set("upstreams.recordings", "receipts", json!("sent"));
        let gateway = Gateway::start(&config);
        let (mut client, features) = asking(library, &gateway, "");
        assert_eq!(features, json!(["ack"]));
        client.binary(&[0; 100]);
        assert_eq!(acked(&mut client), 100);
        for _ in 0..100 {
            client.binary(&[0; 6400]);
        }
        while acked(&mut client) < 640_100 {}
    }
}

#[test]
fn an_upstream_that_promises_nothing_gives_no_receipts() {
    let backend = Backend::start(Library::Ws);
    let gateway = Gateway::start(&relaying(backend.address()));
    let (mut client, features) = asking(Library::Ws, &gateway, "confirm");
    assert_eq!(features, Value::Null);
    client.binary(&[0; 640]);
    // What the backend says is then a message like any other.
    assert_eq!(client.message(), json!({"type": "ack", "bytes": 640}));
    eventually("the backend heard it", || {
        backend.events("text").first().cloned()
    });
}
