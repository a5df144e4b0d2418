//! What is printed is a case that reads as it was meant.

use super::*;
use crate::fixture::{Case, ExpectedVerdict, Token, load};
use keys::TokenError;

fn line(more: &Value) -> Line {
    let mut line = json!({
        "v": 1, "time": "2026-11-23T09:12:07.512034Z", "session": "s-1", "route": "ingest",
        "generation": 3, "policy": "auth", "digest": "sha256:9f86", "stage": "connect",
        "role": "enforced", "verdict": "accept", "effect": "accepted", "duration_us": 212,
        "input": {
            "path": "/ws/room ü?1", "remote": "192.0.2.7:50123", "params": [],
            "query": [["source", "mic & sys"]], "headers": [["user-agent", "a \"b\"\u{7f}\n"]],
            "attributes": [["auth.tenant_id", "acme"]], "withheld": ["header authorization"],
        },
        "calls": [], "left_out": 0,
    });
    let object = line.as_object_mut().unwrap();
    object.extend(more.as_object().unwrap().clone());
    serde_json::from_value(line).unwrap()
}

fn read(line: &Line) -> Case {
    let text = case(line);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &text).unwrap();
    let mut cases = load(file.path()).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    assert_eq!(cases.len(), 1, "{text}");
    cases.remove(0)
}

#[test]
fn what_a_policy_could_see_and_was_told_is_in_the_case() {
    let case = read(&line(&json!({
        "verdict": "reject", "close_code": 4002, "code": "ingest_exists", "message": "in \"use\"",
        "retryable": false, "retry_after_ms": null, "effect": "refused",
        "calls": [
            {"call": "clock.now-ms", "answer": 1_763_889_127_512_u64},
            {"call": "jwt.verify", "key_set": "main", "answer": {"ok": {"sub": "u", "n": [1, null, {"a": true}]}}},
            {"call": "sessions.claim", "key": "k", "answer": {"err": {
                "session_id": "s-2", "since_ms": 1_763_889_000_000_u64, "attributes": [["auth.user_id", "u"]]}}},
            {"call": "counters", "key": "c", "change": "add", "amount": 1, "life_ms": 1000, "answer": {"ok": 4}},
        ],
    })));
    assert_eq!(
        case.path.as_deref(),
        Some("/ws/room%20%C3%BC%3F1?source=mic+%26+sys")
    );
    assert_eq!(case.headers["user-agent"], "a \"b\"\u{7f}\n");
    assert_eq!(
        (case.clock, case.remote.as_str()),
        (1_763_889_127_512, "192.0.2.7:50123")
    );
    assert_eq!(case.attributes["auth.tenant_id"], "acme");
    let Token::Claims(claims) = case.token else {
        panic!("no claims");
    };
    assert_eq!(json!(claims), json!({"sub": "u", "n": [1, {"a": true}]}));
    assert_eq!(case.key_set.as_deref(), Some("main"));
    assert_eq!(case.counters["c"], 3);
    let other = &case.sessions[0];
    assert_eq!(
        (other.key.as_str(), other.session_id.as_str()),
        ("k", "s-2")
    );
    assert_eq!(
        (other.since, other.attributes["auth.user_id"].as_str()),
        (1_763_889_000_000, "u")
    );
    let ExpectedVerdict::Reject {
        code,
        close_code,
        message,
        retryable,
        ..
    } = case.expect.verdict
    else {
        panic!("no rejection");
    };
    assert_eq!((code.as_str(), close_code), ("ingest_exists", Some(4002)));
    assert_eq!(
        (message.as_deref(), retryable),
        (Some("in \"use\""), Some(false))
    );
}

#[test]
fn a_stream_s_windows_and_its_end_are_in_the_case() {
    let input = |more: &Value| {
        let mut input = json!({"path": "/x", "remote": "192.0.2.7:1", "params": [], "query": [],
            "headers": [], "attributes": [], "withheld": []});
        input
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        input
    };
    let window = json!({"window": {"index": 3, "length_us": 5_000_000, "held_us": 2000, "paused": true,
        "text": [0, 0], "binary": [2, 700], "frames": [["binary", 300, 1000], ["binary", 400, 2000]]}});
    let case = read(&line(&json!({"stage": "frames", "input": input(&window)})));
    let window = &case.windows[0];
    assert_eq!(
        (window.binary.count, window.binary.bytes, window.paused),
        (2, 700, true)
    );
    assert_eq!((window.length.as_millis(), window.frames.len()), (5000, 2));
    let ending = json!({"ending": {"cause": "eof", "close_code": 1002, "closed_by": "transport",
        "streamed": true, "lasted_us": 9000, "received_bytes": 7, "sent_bytes": 8}});
    let notice = json!({"call": "notice", "code": "late", "message": "m"});
    let close = json!({"stage": "close", "input": input(&ending), "calls": [notice]});
    let case = read(&line(&close));
    // The client is gone, so that a notice is sent to nobody.
    assert_eq!(case.expect.notices, [""; 0]);
    let ending = case.ending.expect("an ending");
    assert_eq!((ending.close_code, ending.received_bytes), (1002, 7));
}

#[test]
fn a_call_that_failed_is_a_case_that_says_so_and_expects_a_decision() {
    let failed = line(&json!({
        "verdict": "failed", "failure": "trap", "detail": "panicked at src/lib.rs:7:\n# no",
        "effect": "failed-closed",
        "calls": [{"call": "jwt.verify", "key_set": "main", "answer": {"err": "expired"}}],
    }));
    let text = case(&failed);
    assert!(
        text.contains("# it failed (trap): it panicked at src/lib.rs:7:"),
        "{text}"
    );
    assert!(
        text.contains("# withheld in the record: header authorization"),
        "{text}"
    );
    let case = read(&failed);
    assert!(matches!(case.expect.verdict, ExpectedVerdict::Accept));
    assert!(matches!(case.token, Token::Fault(TokenError::Expired)));
}
