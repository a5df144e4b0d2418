//! Close messages made of text and codes from guests, upstreams and clients: the
//! code is one that its speaker may use, the reason fits a control frame, and
//! nothing that is for the operator reaches the peer.
#![no_main]

use base::rejection::Rejection;
use gateway::socket::cause::Cause;
use gateway::socket::close_message::CloseMessage;
use libfuzzer_sys::fuzz_target;
use policy::bindings::sluice::policy::types;
use policy::convert;
use policy::own_secrets::OwnSecrets;
use serde_json::Value;
use upstream::{Lost, OpenError, Refusal};
use wire::frame::PeerClose;

/// Bytes of a close reason (RFC 6455, section 5.5: 125, of which 2 are the
/// code's).
const LONGEST_REASON: usize = 123;
/// Bytes of a guest's message that are kept, each of which may have become a
/// replacement character of 3.
const MAX_MESSAGE: usize = 1024;
const LONGEST_MESSAGE: usize = 3 * MAX_MESSAGE;
/// Bytes of an error frame around an upstream's own message.
const LONGEST_FRAME: usize = 4096;
/// Stands in what only the operator may read.
const FOR_THE_OPERATOR: &str = "\u{e000}/var/lib/sluice";

fuzz_target!(|input: (Option<u16>, bool, Option<u32>, &str)| {
    let (close_code, retryable, retry_after_ms, text) = input;
    let (word, message) = text.split_once('\n').unwrap_or(("", text));
    let rejection = types::Rejection {
        close_code,
        code: word.to_owned(),
        message: message.to_owned(),
        retryable,
        retry_after_ms,
    };
    guest(&rejection);
    host(text);
    upstream(close_code.unwrap_or(1000), word, message);
});

/// What a policy says of the connection before it, and of one that it evicts.
fn guest(said: &types::Rejection) {
    let none = OwnSecrets::default();
    let (notice, _) = convert::notice(said, MAX_MESSAGE, &none);
    let (rejection, _) = convert::rejection(said, MAX_MESSAGE, &none);
    for (rejection, own) in [(rejection, false), (notice, true)] {
        let used = rejection.close_code;
        let allowed = matches!(used, 4000..=4002 | 4005 | 4100..=4999) || own && used == 4003;
        assert!(allowed, "{used}");
        assert!(used == 4005 || said.close_code == Some(used), "{used}");
        assert!(!rejection.code.is_empty());
        assert!(rejection.message.len() <= LONGEST_MESSAGE);
        for text in [&rejection.code, &rejection.message] {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        let Rejection { message, .. } = rejection.clone();
        let cause = if own { Cause::Evicted } else { Cause::Denied };
        let frame = told(&cause(rejection.clone()), used, &message);
        assert_eq!(frame["code"], rejection.code);
        assert_eq!(frame["retryable"], said.retryable);
        assert_eq!(
            frame["retry_after_ms"].as_u64(),
            said.retry_after_ms.map(u64::from)
        );
    }
}

/// Text that the gateway puts into its own messages.
fn host(text: &str) {
    let detail = || anyhow::anyhow!(FOR_THE_OPERATOR);
    let public = || text.to_owned();
    let opened = OpenError::Unavailable {
        public: public(),
        detail: detail(),
    };
    told(&Cause::UpstreamClosed(opened), 4006, text);
    let opened = OpenError::NoPlace {
        public: public(),
        detail: detail(),
    };
    told(&Cause::UpstreamClosed(opened), 4004, text);
    let lost = Lost {
        public: public(),
        detail: detail(),
    };
    told(&Cause::UpstreamLost(lost), 4006, text);
    told(
        &Cause::HandshakeInvalid(public()),
        4000,
        &format!("Handshake invalid: {text}"),
    );
    let failed = Cause::PolicyFailed {
        policy: None,
        detail: format!("{FOR_THE_OPERATOR}{text}"),
    };
    told(&failed, 4007, "admission took too long");
}

/// What an upstream says when it refuses a stream, and when it ends one.
fn upstream(code: u16, word: &str, message: &str) {
    let close = PeerClose {
        code,
        reason: message.to_owned(),
    };
    let refused = OpenError::Refused(Refusal {
        close: close.clone(),
        code: (!word.is_empty()).then(|| word.to_owned()),
        message: message.to_owned(),
        retryable: true,
    });
    for cause in [Cause::UpstreamClosed(refused), Cause::UpstreamEnded(close)] {
        let close_message = CloseMessage::of(&cause);
        let used = close_message.close_code();
        // What it may say to a client, or that it is not to be had.
        assert!(matches!(used, 1000 | 3000..=4999), "{used}");
        assert!(used == code || used == 4006, "{used}");
        assert!(close_message.reason().len() <= LONGEST_REASON);
        if let Some(frame) = close_message.error_frame("the session") {
            assert!(frame.len() <= LONGEST_FRAME, "{} bytes", frame.len());
        }
    }
}

/// Checks what the peer is told, and returns the error frame.
fn told(cause: &Cause, code: u16, message: &str) -> Value {
    let close_message = CloseMessage::of(cause);
    assert_eq!(close_message.close_code(), code);

    let reason = close_message.reason();
    assert!(reason.len() <= LONGEST_REASON, "{} bytes", reason.len());
    let rest = message
        .strip_prefix(&reason)
        .expect("a reason begins as the message does");
    if let Some(next) = rest.chars().next() {
        assert!(
            reason.len() + next.len_utf8() > LONGEST_REASON,
            "cut too early"
        );
    }

    let frame = close_message
        .error_frame("the session")
        .expect("a refusal is explained");
    let frame = String::from_utf8(frame).expect("TEXT is UTF-8");
    if !message.contains(FOR_THE_OPERATOR) {
        assert!(!frame.contains(FOR_THE_OPERATOR) && !reason.contains(FOR_THE_OPERATOR));
    }
    let frame: Value = serde_json::from_str(&frame).expect("the error frame is JSON");
    assert_eq!(frame["message"], message);
    assert_eq!(frame["close_code"], code);
    assert_eq!(frame["session_id"], "the session");
    frame
}
