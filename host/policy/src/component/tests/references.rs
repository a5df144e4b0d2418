//! Guests that declare what their options refer to.

use super::*;
use crate::references::{Ineffective, Reference, ReferenceKind};

/// What the calls below hand over: `/key` at 1024, `main` at 1028 and `why?` at 1032. From 2048 on
/// there are zeros.
const DATA: &str = "/keymainwhy?";
const KEY_SET: &str =
    "(call $key-set (i32.const 1024) (i32.const 4) (i32.const 1028) (i32.const 4))";

fn guest(validate: &str, decide: &str) -> Vec<u8> {
    let text = include_str!("../../../../../tests/guests/references.wat");
    let text = text.replace("DATA", DATA);
    let text = text.replace("VALIDATE", validate).replace("DECIDE", decide);
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn what_a_policy_declares_is_known_once_it_is_loaded() {
    let calls = "(call $param (i32.const 1024) (i32.const 4) (i32.const 1028) (i32.const 2))
        (call $attribute (i32.const 1024) (i32.const 4) (i32.const 1028) (i32.const 3))
        (call $leaves (i32.const 1028) (i32.const 4))
        (call $leaves (i32.const 1028) (i32.const 4))
        (call $no-effect (i32.const 1024) (i32.const 4) (i32.const 1032) (i32.const 4)
          (i32.const 1032) (i32.const 3))";
    let Loaded { policy, report, .. } =
        load(&guest(&format!("{KEY_SET}{KEY_SET}{calls}"), "")).await;
    let policy = policy.expect(&report);
    let references = policy.references();
    let named = [
        (ReferenceKind::KeySet, "main"),
        (ReferenceKind::Param, "ma"),
        (ReferenceKind::Attribute, "mai"),
    ];
    let named = named.map(|(kind, name)| Reference {
        kind,
        pointer: "/key".to_owned(),
        name: name.to_owned(),
        tenant: None,
    });
    assert_eq!(references.named, named);
    assert_eq!(references.leaves, ["main"]);
    let ineffective = Ineffective {
        pointer: "/key".to_owned(),
        why: "why?".to_owned(),
        help: "why".to_owned(),
    };
    assert_eq!(references.ineffective, [ineffective]);
}

#[tokio::test]
async fn a_declaration_in_another_call_does_nothing() {
    let Loaded {
        policy,
        report,
        registry,
        folder: _folder,
    } = load(&guest("", &KEY_SET.repeat(300))).await;
    let policy = policy.expect(&report);
    let guard = start(&registry, "s");
    assert_eq!(
        policy.ask(guard.session(), &Question::Connect).await,
        Verdict::Accept
    );
    assert_eq!(policy.references().named, []);
}

#[tokio::test]
async fn a_policy_that_declares_more_than_there_is_room_for_does_not_load() {
    let long = "(call $leaves (i32.const 2048) (i32.const 1025))";
    for (calls, said) in [
        (KEY_SET.repeat(257), "more than 256 references"),
        (
            long.to_owned(),
            "a reference with more than 1024 bytes of text",
        ),
    ] {
        let Loaded { policy, report, .. } = load(&guest(&calls, "")).await;
        assert!(policy.is_none());
        // The report is folded to a width.
        let words = report.split_whitespace().filter(|word| *word != "|");
        let report = words.collect::<Vec<_>>().join(" ");
        let said = format!("policy \"p\" trapped: it declared {said} when it was tried out");
        assert!(report.contains(&said), "{report}");
    }
    let Loaded { policy, report, .. } = load(&guest(&KEY_SET.repeat(256), "")).await;
    assert!(policy.is_some(), "{report}");
}
