use serde_json::{Value, json};

use super::*;

/// The smallest handshake, with these members on top; null is written as it is.
fn with(changes: Value) -> Result<Handshake, String> {
    let mut message = json!({"type": "handshake", "sample_rate": 16000, "device_id": "d"});
    let (Some(members), Value::Object(changes)) = (message.as_object_mut(), changes) else {
        unreachable!()
    };
    members.extend(changes);
    Handshake::parse(&message.to_string()).map_err(|error| error.0)
}

#[test]
fn a_whole_number_may_be_written_with_a_fraction() {
    for written in ["16000", "16000.0", "1.6e4"] {
        let json = format!(
            r#"{{"type":"handshake","device_id":"d","sample_rate":{written},"channels":2.0}}"#
        );
        let handshake = Handshake::parse(&json).unwrap();
        assert_eq!((handshake.sample_rate, handshake.channels), (16_000, 2));
    }
}

#[test]
fn null_is_like_absent() {
    let null = json!({
        "source": null, "channels": null, "codec": null, "language": null,
        "client": null, "version": null, "features": null,
    });
    assert_eq!(with(null), with(json!({})));
    assert_eq!(
        with(json!({"sample_rate": null})),
        Err("sample_rate is missing".to_owned())
    );
}

#[test]
fn what_is_wrong_is_said_in_words_of_the_protocol() {
    for (change, words) in [
        (
            json!({"type": 7}),
            r#"expected a message with "type": "handshake""#,
        ),
        (
            json!({"type": "ping"}),
            r#"expected a message of type "handshake", got "ping""#,
        ),
        (
            json!({"sample_rate": "16000"}),
            r#"sample_rate must be a whole number above 0, not "16000""#,
        ),
        (
            json!({"sample_rate": 16000.5}),
            "sample_rate must be a whole number above 0, not 16000.5",
        ),
        (
            json!({"sample_rate": -16000}),
            "sample_rate must be a whole number above 0, not -16000",
        ),
        (
            json!({"sample_rate": 1e300}),
            "sample_rate must be a whole number above 0, not 1e+300",
        ),
        (
            json!({"sample_rate": 0}),
            "sample_rate must be a whole number above 0, not 0",
        ),
        (
            json!({"channels": 70_000}),
            "channels must be a whole number above 0, not 70000",
        ),
        (json!({"codec": 16}), "codec must be text, not 16"),
        (json!({"device_id": null}), "device_id is missing"),
        (
            json!({"features": ["ack", 1]}),
            r#"features must be a list of texts, not ["ack",1]"#,
        ),
    ] {
        assert_eq!(with(change.clone()), Err(words.to_owned()), "{change}");
    }
    for (json, words) in [
        (r#"["handshake"]"#, "expected a JSON object"),
        (
            r#"{"type":"handshake","sample_rate":1,"sample_rate":2}"#,
            "duplicate field `sample_rate`",
        ),
        (r#"{"type":"#, "EOF while parsing a value"),
    ] {
        let error = Handshake::parse(json).unwrap_err().0;
        assert!(error.starts_with(words), "{error}");
    }
}

#[test]
fn what_a_client_is_told_of_its_own_words_is_bounded() {
    let long = with(json!({"sample_rate": "9".repeat(10_000)})).unwrap_err();
    assert!(long.len() < 200, "{long}");
}
