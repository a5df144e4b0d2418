//! The client's first message, and the answer to it.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::{token, with_both_clients};
use tungstenite::protocol::frame::coding::{Data, OpCode};

fn gateway() -> Gateway {
    Gateway::start(&Config::ingest())
}

fn connect(library: Library, gateway: &Gateway, source: &str) -> Client {
    Client::connect(library, gateway, &path(source))
}

fn path(source: &str) -> String {
    meeting("m1", source, &token::good())
}

fn with(changes: Value) -> Value {
    let (mut message, Value::Object(changes)) = (handshake(), changes) else {
        unreachable!()
    };
    for (name, value) in changes {
        if value.is_null() {
            message.as_object_mut().unwrap().remove(&name);
        } else {
            message[name] = value;
        }
    }
    message
}

with_both_clients! {
    fn what_is_no_handshake_is_refused(library) {
        let gateway = gateway();
        let messages = [
            "".to_owned(),
            "hello".to_owned(),
            "{".to_owned(),
            "[]".to_owned(),
            "null".to_owned(),
            json!({}).to_string(),
            json!({"type": "ping"}).to_string(),
            json!({"type": "finalize"}).to_string(),
            with(json!({"type": null})).to_string(),
            with(json!({"device_id": null})).to_string(),
            with(json!({"sample_rate": null})).to_string(),
            with(json!({"sample_rate": 0})).to_string(),
            with(json!({"sample_rate": -16000})).to_string(),
            with(json!({"sample_rate": "16000"})).to_string(),
            with(json!({"sample_rate": 1e300})).to_string(),
            "[".repeat(100_000),
        ];
        let mut client = Client::idle(library);
        for message in messages {
            client.open(&gateway, &path("mic"), &[]);
            client.text(&message);
            let frame = client.expect_refusal(4000, "handshake_invalid");
            assert_eq!(frame["retryable"], false);
        }
    }

    fn a_handshake_of_64_kib_is_read_and_a_larger_one_is_refused_in_words(library) {
        const MOST: usize = 64 * 1024;
        let gateway = gateway();
        let of = |size: usize| {
            let empty = with(json!({"unknown": ""})).to_string().len();
            with(json!({"unknown": "x".repeat(size - empty)})).to_string()
        };
        let mut client = connect(library, &gateway, "mic");
        client.text(&of(MOST));
        client.expect_ack();
        let mut client = connect(library, &gateway, "sys");
        client.text(&of(MOST + 1));
        let message = "Handshake invalid: it has 65537 bytes; 65536 are the most";
        client.expect_refusal_saying(4000, "handshake_invalid", message);
    }

    fn audio_instead_of_a_handshake_is_refused(library) {
        let gateway = gateway();
        let mut client = connect(library, &gateway, "mic");
        client.binary(&[0; 640]);
        client.expect_refusal(4000, "handshake_invalid");
    }

    fn a_handshake_that_does_not_come_is_refused(library) {
        let gateway = Gateway::start(&Config::ingest().limit("handshake_timeout", "300ms"));
        let mut client = connect(library, &gateway, "mic");
        let frame = client.expect_refusal(4000, "handshake_timeout");
        assert_eq!(frame["retryable"], false);
    }

    fn a_sample_rate_that_is_not_expected_is_refused(library) {
        let gateway = gateway();
        let mut client = connect(library, &gateway, "mic");
        client.json(&with(json!({"sample_rate": 44100})));
        let message = "Invalid sample rate 44100, expected 16000";
        let frame = client.expect_refusal_saying(4000, "invalid_sample_rate", message);
        assert_eq!(frame["retryable"], false);
    }

    fn channels_and_codecs_that_are_not_expected_are_refused(library) {
        let gateway = gateway();
        let mut client = Client::idle(library);
        for change in [json!({"channels": 2}), json!({"codec": "opus"})] {
            client.open(&gateway, &path("mic"), &[]);
            client.json(&with(change));
            client.expect_refusal(4000, "handshake_invalid");
        }
    }

    fn a_handshake_that_names_another_source_is_refused(library) {
        let gateway = gateway();
        let mut client = Client::idle(library);
        for (query, named) in [("mic", "sys"), ("mic", "system"), ("sys", "mic")] {
            client.open(&gateway, &path(query), &[]);
            client.json(&with(json!({"source": named})));
            let frame = client.expect_refusal(4000, "handshake_invalid");
            assert!(frame["message"].as_str().unwrap().contains("source"), "{frame}");
        }
    }

    fn a_source_that_does_not_exist_is_refused(library) {
        let gateway = gateway();
        let mut client = connect(library, &gateway, "tv");
        client.handshake();
        let frame = client.expect_refusal(4000, "handshake_invalid");
        assert!(frame["message"].as_str().unwrap().contains("tv"), "{frame}");
    }

    fn what_is_wrong_with_a_handshake_is_said_in_words_of_the_protocol(library) {
        let gateway = gateway();
        let mut client = Client::idle(library);
        for (change, words) in [
            (json!({"sample_rate": "16000"}), "sample_rate must be a whole number above 0, not \"16000\""),
            (json!({"sample_rate": 16000.5}), "sample_rate must be a whole number above 0, not 16000.5"),
            (json!({"device_id": null}), "device_id is missing"),
        ] {
            client.open(&gateway, &path("mic"), &[]);
            client.json(&with(change));
            let message = format!("Handshake invalid: {words}");
            client.expect_refusal_saying(4000, "handshake_invalid", &message);
        }
    }

    fn handshakes_of_all_ages_are_understood(library) {
        let gateway = gateway();
        let null = r#"{"type":"handshake","sample_rate":1.6e4,"device_id":"d","channels":null,"codec":null}"#;
        let accepted = [
            ("mic", handshake()),
            ("mic", json!({"type": "handshake", "sample_rate": 16000, "device_id": "old"})),
            ("mic", with(json!({"something_new": {"nested": [1, 2, 3]}}))),
            ("sys", with(json!({"source": "system"}))),
            ("system", with(json!({"source": "sys"}))),
            ("mic", with(json!({"source": null}))),
        ];
        let mut client = Client::idle(library);
        for (source, message) in accepted {
            client.open(&gateway, &path(source), &[]);
            client.json(&message);
            client.expect_ack();
            client.finalize(0, 0);
        }
        // As some clients write their numbers, and what they do not know.
        for message in [null.to_owned(), with(json!({"sample_rate": 16000.0})).to_string()] {
            client.open(&gateway, &path("mic"), &[]);
            client.text(&message);
            client.expect_ack();
            client.finalize(0, 0);
        }
    }
}

#[test]
fn the_source_defaults_to_the_microphone() {
    let gateway = gateway();
    let path = meeting("m1", "", &token::good()).replace("source=&", "");
    let mut client = Client::connect(Library::Ws, &gateway, &path);
    client.handshake();
    client.expect_ack();
    let other = meeting("m1", "mic", &token::of_user("u-2"));
    Client::connect(Library::Ws, &gateway, &other).expect_refusal(4002, "ingest_exists");
}

#[test]
fn a_handshake_that_is_not_utf8_gets_the_close_alone() {
    let gateway = gateway();
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting("m1", "mic", &token::good()));
    peer.send(OpCode::Data(Data::Text), b"{\"type\":\"hand\xffshake\"}");
    let frame = peer.frame().expect("a Close");
    assert_eq!(frame.close().map(|(code, _)| code), Some(1007), "{frame:?}");
    assert_eq!(peer.frame(), None);
}

#[test]
fn a_handshake_in_pieces_is_one_handshake() {
    let gateway = gateway();
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting("m1", "mic", &token::good()));
    let whole = raw::text(&handshake().to_string());
    for byte in whole {
        peer.write(&[byte]).unwrap();
    }
    let ack = peer.frame().expect("an ack");
    let ack: Value = serde_json::from_slice(&ack.payload).unwrap();
    assert_eq!(ack["status"], "ready");
}
