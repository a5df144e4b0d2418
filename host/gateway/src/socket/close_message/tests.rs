use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::socket::document::{document, validate};
use ::upstream::{Lost, OpenError, Refusal};
use base::permits::NoMemory;
use base::rejection::Rejection;
use policy::Unanswered;
use policy::destinations::AnswerError;

/// Every cause with the code and the word that `ingest.v1` gives it; no word
/// where the Close comes alone.
fn table() -> Vec<(Cause, u16, Option<&'static str>)> {
    let rejection = |code| Rejection::new(code, "word", "sentence");
    let detail = || anyhow::anyhow!("/secret/path");
    let lost = || Lost {
        public: "gone".to_owned(),
        detail: detail(),
    };
    let closed = || OpenError::unavailable("shut", detail());
    let no_place = OpenError::NoPlace {
        public: "nowhere".to_owned(),
        detail: detail(),
    };
    let refused = |code| {
        OpenError::Refused(Refusal {
            close: PeerClose {
                code,
                reason: "full".to_owned(),
            },
            code: (code == 4100).then(|| "word".to_owned()),
            message: "full".to_owned(),
            retryable: false,
        })
    };
    let ended = |code| PeerClose {
        code,
        reason: "done".to_owned(),
    };
    let peer_close = PeerClose {
        code: 1001,
        reason: "bye".to_owned(),
    };
    let failed = Cause::PolicyFailed {
        policy: Some("p".into()),
        detail: "wasm trap".to_owned(),
    };
    let broken = Cause::Gone(std::io::ErrorKind::BrokenPipe.into());
    vec![
        (Cause::Finalized, 1000, None),
        (Cause::ClientDone, 1000, None),
        (Cause::ClientClosed(Some(peer_close)), 1001, None),
        (Cause::ClientClosed(None), 1000, None),
        (Cause::Draining, 1001, Some("draining")),
        (Cause::Violation(Violation::Protocol("x")), 1002, None),
        (
            Cause::RateLimited(TooMany(Duration::from_secs(1))),
            1013,
            Some("rate_limited"),
        ),
        (
            Cause::ClaimsUnknown("NATS is away".to_owned()),
            1013,
            Some("unavailable"),
        ),
        (
            Cause::UpstreamClosed(OpenError::Away(detail())),
            1013,
            Some("unavailable"),
        ),
        (Cause::Overloaded, 1013, Some("overloaded")),
        (NoMemory::Full.into(), 1013, Some("overloaded")),
        (NoMemory::Share.into(), 1013, Some("overloaded")),
        (Cause::OriginDenied, 4005, Some("policy_denied")),
        (Cause::Violation(Violation::Unfinished), 1002, None),
        (Cause::Violation(Violation::NotUtf8), 1007, None),
        (Cause::Violation(Violation::TooBig), 1009, None),
        (
            Cause::HandshakeInvalid("x".to_owned()),
            4000,
            Some("handshake_invalid"),
        ),
        (Cause::HandshakeTimeout, 4000, Some("handshake_timeout")),
        (Cause::Internal, 4000, Some("internal_error")),
        (Cause::PredecessorStays, 4002, Some("ingest_exists")),
        (Cause::Evicted(rejection(4003)), 4003, Some("word")),
        (
            Cause::EndedByOperator("x".to_owned()),
            4003,
            Some("ended_by_operator"),
        ),
        (Cause::NotFound, 4004, Some("not_found")),
        (Cause::Denied(rejection(4005)), 4005, Some("word")),
        (
            Cause::UpstreamClosed(closed()),
            4006,
            Some("upstream_unavailable"),
        ),
        (Cause::UpstreamClosed(no_place), 4004, Some("not_found")),
        (Cause::UpstreamClosed(refused(4100)), 4100, Some("word")),
        (
            Cause::UpstreamClosed(refused(4001)),
            4001,
            Some("upstream_refused"),
        ),
        (
            Cause::UpstreamClosed(refused(1011)),
            4006,
            Some("upstream_unavailable"),
        ),
        (Cause::UpstreamEnded(ended(1000)), 1000, None),
        (Cause::UpstreamEnded(ended(3999)), 3999, None),
        (Cause::UpstreamEnded(ended(4999)), 4999, None),
        (
            Cause::UpstreamEnded(ended(1012)),
            4006,
            Some("upstream_unavailable"),
        ),
        (Cause::UpstreamSlow, 4006, Some("upstream_unavailable")),
        (Cause::UpstreamStalled, 4006, Some("upstream_unavailable")),
        (
            Cause::UpstreamLost(lost()),
            4006,
            Some("upstream_unavailable"),
        ),
        (failed, 4007, Some("policy_failed")),
        (Cause::Idle, 4008, Some("idle_timeout")),
        (
            Cause::StreamLimit(StreamLimit::TooFast),
            4009,
            Some("stream_limit"),
        ),
        (
            Cause::StreamLimit(StreamLimit::TooLong),
            4009,
            Some("stream_limit"),
        ),
        (Cause::ResumeRefused, 4011, Some("resume_refused")),
        (Cause::Resumed, 4003, Some("superseded")),
        (Cause::TakenOver, 4003, Some("superseded")),
        (Cause::TokenExpired, 4010, Some("token_expired")),
        (
            Cause::ServiceUnavailable(Unanswered {
                destination: "/secret/path".to_owned(),
                error: AnswerError::Timeout,
            }),
            1013,
            Some("service_unavailable"),
        ),
        (Cause::AuthUnavailable, 4012, Some("auth_unavailable")),
        (Cause::Stalled, 1001, None),
        (Cause::Eof, 1002, None),
        (broken, 1002, None),
    ]
}

#[test]
fn every_cause_has_its_code_and_its_error_frame() {
    for (cause, code, word) in table() {
        let close_message = CloseMessage::of(&cause);
        assert_eq!(close_message.close_code, code, "{cause:?}");
        assert_eq!(
            close_message
                .error
                .as_ref()
                .map(|error| error.code.as_str()),
            word,
            "{cause:?}"
        );
        assert!(
            !close_message.reason().is_empty() || matches!(cause, Cause::ClientClosed(None)),
            "{cause:?}"
        );
    }
}

#[test]
fn what_is_for_the_operator_never_reaches_the_client() {
    for (cause, ..) in table() {
        let close_message = CloseMessage::of(&cause);
        let frame = close_message.error_frame("s").unwrap_or_default();
        let told = format!(
            "{}{}",
            String::from_utf8(frame).unwrap(),
            close_message.reason()
        );
        assert!(
            !told.contains("/secret/path") && !told.contains("wasm trap"),
            "{told}"
        );
    }
}

#[test]
fn a_reason_is_cut_to_a_control_frame_at_a_character() {
    // 3 bytes each: 123 is a boundary, so one more byte in front moves it.
    for (message, length) in [
        ("…".repeat(100), 123),
        (format!("x{}", "…".repeat(100)), 121),
    ] {
        let close_message = CloseMessage::of(&Cause::Denied(Rejection::new(4005, "c", &message)));
        assert_eq!(close_message.reason().len(), length);
    }
}

const PAGE: &str = include_str!("../../../../docs/protocol.md");

/// Close codes and error codes that only policies use, with the sources of the built-in policies.
const OF_POLICIES: [(u16, &str, &str); 2] = [
    (
        4001,
        "auth_failed",
        include_str!("../../../../../plugins/sdk/src/rejection.rs"),
    ),
    (
        4000,
        "invalid_sample_rate",
        include_str!("../../../../../plugins/sample-rate/src/rule.rs"),
    ),
];

#[test]
fn every_row_of_the_protocols_page_is_what_is_said() {
    let (_, section) = PAGE.split_once("| close code |").unwrap();
    let rows = section
        .lines()
        .skip(2)
        .take_while(|row| row.starts_with('|'));
    let mut count = 0;
    for row in rows {
        count += 1;
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, code, word, _, retry, _] = cells[..] else {
            panic!("{row}");
        };
        let code: u16 = code.parse().unwrap();
        let word = match word {
            "none" => None,
            word => Some(word.trim_matches('`')),
        };
        let policy = OF_POLICIES
            .iter()
            .find(|(its_code, its_word, _)| (code, word) == (*its_code, Some(its_word)));
        if let Some((code, word, source)) = policy {
            let said = [format!("\"{word}\""), code.to_string()];
            assert!(said.iter().all(|said| source.contains(said)), "{row}");
            assert_eq!(retry, "no");
            continue;
        }
        let table = table();
        let said: Vec<_> = table
            .iter()
            .filter(|(_, its_code, its_word)| (*its_code, *its_word) == (code, word))
            .map(|(cause, ..)| CloseMessage::of(cause))
            .collect();
        assert!(!said.is_empty(), "nothing is closed so: {row}");
        for error in said
            .iter()
            .filter_map(|close_message| close_message.error.as_ref())
        {
            // The policy's own advice has no place in the table.
            let advised =
                retry == "as it says" || retry.contains(if error.retryable { "yes" } else { "no" });
            assert!(advised, "{row}: {error:?}");
            let after = retry.contains("retry_after_ms");
            assert_eq!(after, error.retry_after.is_some(), "{row}");
        }
    }
    assert!(count > 20, "{count} rows");
}

/// Whether the message of a cause is chosen by a client, a policy or an upstream.
fn are_its_own(cause: &Cause, code: u16, word: Option<&str>) -> bool {
    matches!(cause, Cause::ClientClosed(_))
        || matches!(word, Some("word" | "upstream_refused"))
        || (matches!(cause, Cause::UpstreamEnded(_)) && code != 4006)
}

#[test]
fn every_code_stands_in_the_protocols_page_with_its_word() {
    for (cause, code, word) in table() {
        if are_its_own(&cause, code, word) {
            continue;
        }
        let row = match word {
            Some(word) => format!("| {code} | `{word}` |"),
            None => format!("| {code} | none |"),
        };
        assert!(PAGE.contains(&row), "{row} for {cause:?}");
    }
}

/// What the policies say that come with the gateway: their own tests and those
/// of the whole gateway hold them to it.
const POLICIES: [(u16, &str, Option<bool>); 5] = [
    (4000, "invalid_sample_rate", Some(false)),
    (4001, "auth_failed", Some(false)),
    (4002, "ingest_exists", Some(true)),
    (4003, "superseded", Some(false)),
    (4005, "policy_denied", None),
];

#[test]
fn the_protocols_document_lists_every_code_with_its_words_and_no_other() {
    // Whether to retry; none where that depends, or is no question.
    let mut said = BTreeMap::<(u16, Option<String>), BTreeSet<Option<bool>>>::new();
    for (code, word, retryable) in POLICIES {
        let row = said.entry((code, Some(word.to_owned())));
        row.or_default().insert(retryable);
    }
    for (cause, code, word) in table() {
        if !are_its_own(&cause, code, word) {
            let retryable = CloseMessage::of(&cause).error.map(|error| error.retryable);
            let row = said.entry((code, word.map(str::to_owned)));
            row.or_default().insert(retryable);
        }
    }
    let document = document();
    let rows = document["x-close-codes"].as_array().unwrap();
    let mut listed = BTreeSet::new();
    for row in rows {
        let code = u16::try_from(row["close_code"].as_u64().unwrap()).unwrap();
        let word = row["code"].as_str().map(str::to_owned);
        if let (Some(_), Some(said)) = (&word, said.get(&(code, word.clone()))) {
            let expected = match Vec::from_iter(said)[..] {
                [Some(retryable)] => Value::Bool(*retryable),
                _ => Value::from("as told"),
            };
            assert_eq!(row["retryable"], expected, "{row}");
        }
        assert!(listed.insert((code, word)), "twice: {row}");
    }
    assert_eq!(listed, said.into_keys().collect());
}

#[test]
fn every_error_frame_is_as_the_protocols_document_says() {
    let causes = table();
    let frames = causes.iter().filter_map(|(cause, ..)| {
        let frame = CloseMessage::of(cause).error_frame("s-1")?;
        Some(("error", serde_json::from_slice(&frame).unwrap()))
    });
    validate(&frames.collect::<Vec<_>>());
}
