use serde_json::{Value, json};

use super::*;
use keys::TokenError;

/// The line of the module's documentation is one that is understood, and
/// nothing is lost of it.
#[test]
fn the_documented_line_is_read_and_written_as_it_stands() {
    let text: String = include_str!("../record.rs")
        .lines()
        .skip_while(|line| *line != "//! ```json")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| line.trim_start_matches("//!"))
        .collect();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let line: Line = serde_json::from_value(value.clone()).unwrap();
    value["keys_unavailable"] = json!(false);
    assert_eq!(serde_json::to_value(&line).unwrap(), value);
}

#[test]
fn every_kind_of_call_survives_its_line() {
    let holder = RecordedHolder {
        session_id: "s".into(),
        since_ms: 5,
        attributes: vec![("auth.user_id".into(), "u".into())],
    };
    let calls = vec![
        HostCall::NowMs { answer: 7 },
        HostCall::Verify {
            key_set: "k".into(),
            answer: HostAnswer::Ok(json!({"user_id": "u"})),
        },
        HostCall::Verify {
            key_set: "k".into(),
            answer: HostAnswer::Err(TokenError::BadSignature),
        },
        HostCall::Claim {
            key: "k".into(),
            answer: HostAnswer::Ok(()),
        },
        HostCall::Evict {
            key: "k".into(),
            holder: "s".into(),
            answer: HostAnswer::Err(holder),
        },
        HostCall::Count {
            key: "k".into(),
            change: Change::Add {
                amount: -1,
                life_ms: 5,
            },
            answer: HostAnswer::Ok(3),
        },
        HostCall::Count {
            key: "k".into(),
            change: Change::None,
            answer: HostAnswer::Err(CounterError::Full),
        },
        HostCall::ListContains {
            list: "l".into(),
            entry: "e".into(),
            answer: HostAnswer::Ok(true),
        },
        HostCall::ListGet {
            list: "l".into(),
            entry: "e".into(),
            answer: HostAnswer::Ok(None),
        },
        HostCall::ListGet {
            list: "l".into(),
            entry: "e".into(),
            answer: HostAnswer::Ok(Some("v".into())),
        },
        HostCall::ListContains {
            list: "none".into(),
            entry: "e".into(),
            answer: HostAnswer::Trap(Fault::NoList),
        },
    ];
    let text = serde_json::to_string(&calls).unwrap();
    let read: Vec<HostCall> = serde_json::from_str(&text).unwrap();
    assert_eq!(read, calls);
}
