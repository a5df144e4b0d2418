//! JSON from a client: a handshake and the messages of a stream mean what
//! another reader of JSON makes of them, and a refusal is short.
#![no_main]

use gateway::socket::cause::Cause;
use gateway::socket::close_message::CloseMessage;
use gateway::socket::message::ClientMessage;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use session::facts::source_name;
use session::handshake::{Handshake, duration_of};

/// Bytes of a message that names what was wrong with a client's.
const LONGEST_REFUSAL: usize = 512;

fuzz_target!(|text: &str| {
    let json = serde_json::from_str(text).unwrap_or(Value::Null);
    control(text, &json);
    match Handshake::parse(text) {
        Ok(handshake) => accepted(&handshake, &json),
        Err(error) => {
            assert!(
                !error.0.is_empty() && error.0.len() <= LONGEST_REFUSAL,
                "{error}"
            );
            let close_message = CloseMessage::of(&Cause::HandshakeInvalid(error.0));
            assert_eq!(close_message.close_code(), 4000);
            let frame = close_message
                .error_frame("session")
                .expect("a refusal is explained");
            serde_json::from_slice::<Value>(&frame).expect("the error frame is JSON");
        }
    }
});

fn accepted(handshake: &Handshake, json: &Value) {
    assert_eq!(json["type"], "handshake");
    assert_eq!(
        json["sample_rate"].as_f64(),
        Some(handshake.sample_rate.into())
    );
    assert_eq!(json["device_id"], handshake.device_id);
    // One that is null is not there.
    let given = |key| json.get(key).filter(|value: &&Value| !value.is_null());
    assert_eq!(
        given("channels").unwrap_or(&1.into()).as_f64(),
        Some(handshake.channels.into())
    );
    assert_eq!(
        *given("codec").unwrap_or(&"pcm_s16le".into()),
        handshake.codec
    );
    for (key, value) in [
        ("source", &handshake.source),
        ("language", &handshake.language),
        ("client", &handshake.client),
        ("version", &handshake.version),
    ] {
        assert_eq!(json[key].as_str(), value.as_deref(), "{key}");
    }
    assert!(handshake.sample_rate > 0 && handshake.channels > 0);
    // What is computed from it neither overflows nor divides by nothing.
    for bytes in [0, 1, u64::MAX] {
        let _ = duration_of(bytes, handshake.bytes_per_second());
    }
    if let Some(named) = &handshake.source {
        let known = source_name(named);
        assert!(matches!(known, None | Some("mic" | "sys")), "{known:?}");
    }
}

/// A message is known only by its type, and only in an object.
fn control(text: &str, json: &Value) {
    match ClientMessage::parse(text.as_bytes()) {
        ClientMessage::Unknown => {}
        known => assert_eq!(json!(known)["type"], json["type"]),
    }
}
