use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::past::{Gap, Past};
use crate::lines::Lines;
use keys::Claims;
use policy::counters::{Account, Change, CounterError};
use policy::record::Line;
use policy::world::{Seen, World as _};
use session::registry::{ClaimError, Registry, Session, SessionGuard};
use session::testing::start;

fn line(calls: &Value, left_out: u64) -> Line {
    serde_json::from_value(json!({
        "v": 1, "time": "2026-11-23T09:12:07Z", "session": "s", "route": "r", "generation": 1,
        "policy": "p", "digest": null, "stage": "connect", "role": "enforced",
        "verdict": "accept", "effect": "accepted", "duration_us": 1,
        "input": {"path": "/x", "remote": "127.0.0.1:9", "params": [], "query": [], "headers": [],
                  "attributes": [], "withheld": []},
        "calls": calls, "left_out": left_out
    }))
    .unwrap()
}

fn past(calls: &Value) -> Past {
    Past::of(&line(calls, 0))
}

fn guard() -> SessionGuard {
    start(&Registry::default(), "s")
}

fn add(amount: i64) -> Change {
    Change::Add {
        amount,
        life: Duration::from_secs(1),
    }
}

fn counted(key: &str, change: &str, amount: i64, answer: i64) -> Value {
    json!({"call": "counters", "key": key, "change": change, "amount": amount, "life_ms": 1000,
           "answer": {"ok": answer}})
}

fn claim(past: &Past, session: &Arc<Session>, key: &str) -> Option<String> {
    match past.claim(session, key) {
        Err(ClaimError::Held(holder)) => Some(holder.session_id),
        _ => None,
    }
}

#[test]
fn every_answer_is_given_again_once_and_in_order() {
    let guard = guard();
    let session = guard.session();
    let holder = json!({"session_id": "h", "since_ms": 3, "attributes": []});
    let past = past(&json!([
        {"call": "clock.now-ms", "answer": 5},
        {"call": "clock.now-ms", "answer": 6},
        {"call": "clock.monotonic-ns", "answer": 7},
        {"call": "jwt.verify", "key_set": "main", "answer": {"ok": {"exp": 9, "sub": "u"}}},
        {"call": "sessions.claim", "key": "k", "answer": {"err": holder}},
        {"call": "sessions.evict", "key": "k", "holder": "h", "answer": {"ok": null}},
        counted("c", "add", 1, 4),
    ]));
    assert_eq!((past.now_ms(), past.now_ms()), (5, 6));
    assert_eq!(past.monotonic_ns(std::time::Instant::now()), 7);
    let claims = past.verify(session, "main").unwrap().unwrap();
    assert_eq!(
        (claims.get("/sub").as_deref(), claims.expires_at()),
        (Some("u"), Some(9))
    );
    assert_eq!(claim(&past, session, "k").as_deref(), Some("h"));
    let notice = base::rejection::Rejection::new(4003, "superseded", "superseded");
    assert_eq!(past.evict(session, "k", "h", notice), Ok(()));
    assert_eq!(past.count(Account::of("p", 9), "c", add(1)), Ok(4));
    assert_eq!(past.gap(), None);
    past.now_ms();
    assert_eq!(past.gap(), Some(Gap::Call("clock.now-ms".into())));
}

#[test]
fn a_fault_then_is_the_same_fault_again() {
    let guard = guard();
    let past = past(&json!([
        {"call": "jwt.verify", "key_set": "main", "answer": {"trap": "no-key-set"}},
        {"call": "jwt.verify", "key_set": "main", "answer": {"err": "expired"}},
        {"call": "sessions.claim", "key": "k", "answer": {"trap": "too-many"}},
        {"call": "counters", "key": "c", "change": "none", "answer": {"err": "full"}},
    ]));
    assert!(past.verify(guard.session(), "main").is_none());
    let expired = past.verify(guard.session(), "main").unwrap();
    assert_eq!(expired.err(), Some(keys::TokenError::Expired));
    assert_eq!(past.claim(guard.session(), "k"), Err(ClaimError::TooMany));
    assert_eq!(
        past.count(Account::of("p", 9), "c", Change::None),
        Err(CounterError::Full)
    );
    assert_eq!(past.gap(), None);
}

#[test]
fn calls_about_other_things_may_come_in_another_order_and_those_about_one_may_not() {
    let calls = json!([counted("a", "add", 1, 1), counted("b", "add", 1, 2)]);
    let recorded = past(&calls);
    assert_eq!(recorded.count(Account::of("p", 9), "b", add(1)), Ok(2));
    assert_eq!(recorded.count(Account::of("p", 9), "a", add(1)), Ok(1));
    assert_eq!(recorded.gap(), None);
    let twice = json!([counted("a", "add", 1, 1), counted("a", "add", 5, 6)]);
    let asked = "counters.add of \"a\", 5 for 1000 ms";
    let recorded = past(&twice);
    assert!(recorded.count(Account::of("p", 9), "a", add(5)).is_err());
    assert_eq!(recorded.gap(), Some(Gap::Call(asked.into())));
    // An eviction is no claim, whoever has the key then.
    let guard = guard();
    let recorded = past(&json!([
        {"call": "sessions.evict", "key": "k", "holder": "h", "answer": {"ok": null}},
    ]));
    assert!(recorded.claim(guard.session(), "k").is_err());
    assert!(recorded.gap().is_some());
}

#[test]
fn what_was_left_out_is_told_from_what_was_never_asked() {
    let past = Past::of(&line(&json!([counted("a", "add", 1, 1)]), 3));
    past.now_ms();
    let expected = Gap::LeftOut("clock.now-ms".into(), 3);
    assert_eq!(past.gap(), Some(expected));
}

#[test]
fn whoever_looks_at_what_is_withheld_is_noticed_and_nobody_else() {
    let claims = json!({"exp": 1, "sub": "u", "sid": "[withheld]", "org": {"api_key": "[withheld]", "id": 4}});
    let claims = Claims::recorded(claims).unwrap();
    for (pointer, noticed) in [
        ("/sub", false),
        ("/exp", false),
        ("/absent", false),
        ("/org/id", false),
        ("/sid", true),
        ("/sid/deeper", true),
        ("/org/api_key", true),
        ("/org", true),
        ("", true),
    ] {
        let past = Past::default();
        past.looked_at(Seen::Claim(&claims, pointer));
        assert_eq!(past.gap().is_some(), noticed, "{pointer}");
    }
    let past = Past::default();
    past.looked_at(Seen::Text("plain"));
    assert_eq!(past.gap(), None);
    past.looked_at(Seen::Text("[withheld] header x-api-key"));
    past.looked_at(Seen::Payload);
    let first = Gap::Withheld("[withheld] header x-api-key".into());
    assert_eq!(past.gap(), Some(first));
}

#[test]
fn a_value_of_a_list_that_is_withheld_in_part_is_noticed() {
    let got = |answer: Value| json!({"call": "lists.get", "list": "plans", "entry": "acme", "answer": {"ok": answer}});
    for (answer, noticed) in [
        (json!("gold"), false),
        (Value::Null, false),
        (json!("[withheld]"), true),
        (json!("a long plan[withheld]"), true),
    ] {
        let past = past(&json!([got(answer.clone())]));
        past.list_get("plans", "acme");
        let expected = Gap::Withheld("the value of \"acme\" in \"plans\"".into());
        assert_eq!(past.gap(), noticed.then_some(expected), "{answer}");
    }
}

#[test]
fn a_line_of_another_form_is_named_with_its_file_and_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.jsonl");
    let good = serde_json::to_string(&line(&json!([]), 0)).unwrap();
    let newer = good.replace("\"v\":1", "\"v\":2");
    for (bad, said) in [
        (newer.as_str(), "it has the form 2, and this sluice reads 1"),
        ("half a li", "it is not a decision"),
        ("{\"v\":1}", "it is not a decision: missing field"),
        ("", "it is not a decision"),
    ] {
        std::fs::write(&file, format!("{good}\n{bad}\n{good}\n")).unwrap();
        let read: Vec<_> = Lines::of(&file).unwrap().collect();
        assert!(read[0].is_ok() && read[2].is_ok());
        let error = format!("{:#}", read[1].as_ref().unwrap_err());
        assert!(error.contains("d.jsonl:2: "), "{error}");
        assert!(error.contains(said), "{error}");
    }
    assert!(Lines::of(&folder.path().join("absent")).is_err());
    // What opens and cannot be read says so once.
    let read: Vec<_> = Lines::of(folder.path()).unwrap().take(2).collect();
    assert!(matches!(&*read, [Err(_)]), "{read:?}");
}
