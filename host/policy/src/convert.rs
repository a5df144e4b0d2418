//! Between the contract's types and the host's own; nothing else is in this
//! file. What comes from a guest is brought within bounds here.

use std::time::Duration;

use super::amendment::{Amendment, TextLimit};
use super::bindings::sluice::policy as wit;
use super::destinations::{AnswerError, Request};
use super::own_secrets::OwnSecrets;
use super::window::Kind;
use base::rejection::Rejection;
use base::text;
use keys::TokenError;

/// What a policy's own refusal is, where the policy does not say.
const POLICY_DENIED: u16 = 4005;
/// What tells a connection that another one took its place.
const SUPERSEDED: u16 = 4003;
/// Bytes of a rejection's word.
const MAX_CODE: usize = 64;
/// Bytes of a name that can be the name of anything.
const MAX_NAME: usize = 1024;

/// A policy's rejection, which may reach a client; its sentence is cut to
/// `max_message` bytes. And what was changed of it.
#[must_use]
pub fn rejection(
    rejection: &wit::types::Rejection,
    max_message: usize,
    secrets: &OwnSecrets,
) -> (Rejection, Vec<Amendment>) {
    bounded(
        rejection,
        max_message,
        secrets,
        policy_may_use,
        Amendment::CloseCode,
    )
}

/// A notice to a connection that is evicted. And what was changed of it.
#[must_use]
pub fn notice(
    rejection: &wit::types::Rejection,
    max_message: usize,
    secrets: &OwnSecrets,
) -> (Rejection, Vec<Amendment>) {
    let allowed = |code| code == SUPERSEDED || policy_may_use(code);
    bounded(
        rejection,
        max_message,
        secrets,
        allowed,
        Amendment::NoticeCode,
    )
}

fn policy_may_use(code: u16) -> bool {
    matches!(code, 4000..=4002 | POLICY_DENIED | 4100..=4999)
}

fn bounded(
    rejection: &wit::types::Rejection,
    max_message: usize,
    secrets: &OwnSecrets,
    allowed: impl Fn(u16) -> bool,
    not_allowed: fn(u16) -> Amendment,
) -> (Rejection, Vec<Amendment>) {
    let mut amendments = Vec::new();
    let close_code = match rejection.close_code {
        None => POLICY_DENIED,
        Some(code) if allowed(code) => code,
        Some(code) => {
            amendments.push(not_allowed(code));
            POLICY_DENIED
        }
    };
    let code = if rejection.code.is_empty() {
        amendments.push(Amendment::NoWord);
        "policy_denied".to_owned()
    } else {
        text::clean(&secrets.told(&rejection.code, MAX_CODE), MAX_CODE)
    };
    let texts = [
        (
            "the `code` of a rejection",
            &rejection.code,
            MAX_CODE,
            TextLimit::Contract,
        ),
        (
            "the `message` of a rejection",
            &rejection.message,
            max_message,
            TextLimit::Bytes("max_message", max_message),
        ),
    ];
    for (what, text, kept, limit) in texts {
        if text.len() > kept {
            let bytes = text.len();
            amendments.push(Amendment::Cut {
                what,
                bytes,
                kept,
                limit,
            });
        }
    }
    let rejection = Rejection {
        close_code,
        code,
        message: text::clean(&secrets.told(&rejection.message, max_message), max_message),
        retryable: rejection.retryable,
        retry_after: rejection
            .retry_after_ms
            .map(|ms| Duration::from_millis(ms.into())),
    };
    (rejection, amendments)
}

/// A kind of message, as the host calls it.
#[must_use]
pub fn kind(kind: wit::frames::Kind) -> Kind {
    match kind {
        wit::frames::Kind::Text => Kind::Text,
        wit::frames::Kind::Binary => Kind::Binary,
    }
}

/// A kind of message, as the contract calls it.
#[must_use]
pub(crate) fn wit_kind(kind: Kind) -> wit::frames::Kind {
    match kind {
        Kind::Text => wit::frames::Kind::Text,
        Kind::Binary => wit::frames::Kind::Binary,
    }
}

/// Why a token is no good.
#[must_use]
pub(crate) fn token_error(error: TokenError) -> wit::jwt::Error {
    match error {
        TokenError::Missing => wit::jwt::Error::Missing,
        TokenError::Malformed => wit::jwt::Error::Malformed,
        TokenError::BadSignature => wit::jwt::Error::BadSignature,
        TokenError::Expired => wit::jwt::Error::Expired,
        TokenError::NotYetValid => wit::jwt::Error::NotYetValid,
        TokenError::WrongIssuer => wit::jwt::Error::WrongIssuer,
        TokenError::WrongAudience => wit::jwt::Error::WrongAudience,
        TokenError::UnknownKey => wit::jwt::Error::UnknownKey,
        TokenError::Unavailable => wit::jwt::Error::Unavailable,
    }
}

/// Why a service gave no answer.
#[must_use]
pub(crate) fn answer_error(error: AnswerError) -> wit::destinations::Error {
    match error {
        AnswerError::Timeout => wit::destinations::Error::Timeout,
        AnswerError::Unavailable => wit::destinations::Error::Unavailable,
        AnswerError::Busy => wit::destinations::Error::Busy,
        AnswerError::TooLarge => wit::destinations::Error::TooLarge,
        AnswerError::Unusable => wit::destinations::Error::Unusable,
        AnswerError::Refused => wit::destinations::Error::Refused,
    }
}

/// A request of a policy.
#[must_use]
pub(crate) fn request(request: wit::destinations::Request, secrets: &OwnSecrets) -> Request {
    let wit::destinations::Request {
        destination,
        params,
        query,
        body,
    } = request;
    // What names a thing is shown if there is no such thing. The values go to the service alone.
    let named = |name: String| secrets.told(&name, MAX_NAME).into_owned();
    let pairs = |pairs: Vec<(String, String)>| {
        let pairs = pairs.into_iter();
        pairs.map(|(name, value)| (named(name), value)).collect()
    };
    Request {
        destination: named(destination),
        params: pairs(params),
        query: pairs(query),
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100;

    fn said(close_code: Option<u16>, code: &str, message: &str) -> wit::types::Rejection {
        wit::types::Rejection {
            close_code,
            code: code.to_owned(),
            message: message.to_owned(),
            retryable: false,
            retry_after_ms: None,
        }
    }

    #[test]
    fn a_code_that_a_policy_may_not_use_becomes_policy_denied_and_is_told() {
        for code in [
            0, 999, 1000, 1005, 1006, 1015, 4003, 4004, 4006, 4007, 4099, 5000, 65535,
        ] {
            let (told, amendments) =
                rejection(&said(Some(code), "c", "m"), MAX, &OwnSecrets::default());
            assert_eq!(told.close_code, 4005, "{code}");
            assert_eq!(amendments, [Amendment::CloseCode(code)]);
        }
        for code in [4000, 4001, 4002, 4005, 4100, 4999] {
            let (told, amendments) =
                rejection(&said(Some(code), "c", "m"), MAX, &OwnSecrets::default());
            assert_eq!((told.close_code, amendments), (code, vec![]));
        }
        let (told, amendments) = notice(&said(Some(4003), "c", "m"), MAX, &OwnSecrets::default());
        assert_eq!((told.close_code, amendments), (4003, vec![]));
        let (told, amendments) = notice(&said(Some(1001), "c", "m"), MAX, &OwnSecrets::default());
        assert_eq!(told.close_code, 4005);
        assert_eq!(amendments, [Amendment::NoticeCode(1001)]);
        assert!(amendments[0].to_string().contains("4100 to 4999"));
    }

    #[test]
    fn what_a_guest_says_is_bounded_and_printable() {
        let text = "a\u{1b}[2J\n".repeat(1000);
        let (told, amendments) = rejection(&said(None, "", &text), MAX, &OwnSecrets::default());
        assert_eq!(
            (told.close_code, told.code.as_str()),
            (4005, "policy_denied")
        );
        assert!(told.message.len() <= MAX * 3);
        assert!(!told.message.chars().any(char::is_control));
        let amendments: Vec<_> = amendments.iter().map(Amendment::to_string).collect();
        assert_eq!(
            amendments,
            [
                "a rejection without a `code` became `policy_denied`",
                "the `message` of a rejection has 6000 bytes, and was cut to 100 \
                 (max_message = \"100B\")",
            ]
        );
    }
}
