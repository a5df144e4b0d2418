//! Between the contract's types and the host's own; nothing else is in this
//! file. What comes from a guest is brought within bounds here.

use std::time::Duration;

use super::bindings::sluice::policy as wit;
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

/// A policy's rejection, which may reach a client; its sentence is cut to
/// `max_message` bytes.
#[must_use]
pub fn rejection(rejection: &wit::types::Rejection, policy: &str, max_message: usize) -> Rejection {
    bounded(rejection, policy, max_message, policy_may_use)
}

/// A notice to a connection that is evicted.
#[must_use]
pub fn notice(rejection: &wit::types::Rejection, policy: &str, max_message: usize) -> Rejection {
    bounded(rejection, policy, max_message, |code| {
        code == SUPERSEDED || policy_may_use(code)
    })
}

fn policy_may_use(code: u16) -> bool {
    matches!(code, 4000..=4002 | POLICY_DENIED | 4100..=4999)
}

fn bounded(
    rejection: &wit::types::Rejection,
    policy: &str,
    max_message: usize,
    allowed: impl Fn(u16) -> bool,
) -> Rejection {
    let close_code = match rejection.close_code {
        None => POLICY_DENIED,
        Some(code) if allowed(code) => code,
        Some(code) => {
            tracing::warn!(
                policy,
                code,
                "a policy named a close code that it may not use; the client is sent {POLICY_DENIED}"
            );
            POLICY_DENIED
        }
    };
    let code = if rejection.code.is_empty() {
        "policy_denied".to_owned()
    } else {
        text::clean(&rejection.code, MAX_CODE)
    };
    Rejection {
        close_code,
        code,
        message: text::clean(&rejection.message, max_message),
        retryable: rejection.retryable,
        retry_after: rejection
            .retry_after_ms
            .map(|ms| Duration::from_millis(ms.into())),
    }
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
    fn a_code_that_a_policy_may_not_use_becomes_policy_denied() {
        for code in [
            0, 999, 1000, 1005, 1006, 1015, 4003, 4004, 4006, 4007, 4099, 5000, 65535,
        ] {
            assert_eq!(
                rejection(&said(Some(code), "c", "m"), "p", MAX).close_code,
                4005,
                "{code}"
            );
        }
        for code in [4000, 4001, 4002, 4005, 4100, 4999] {
            assert_eq!(
                rejection(&said(Some(code), "c", "m"), "p", MAX).close_code,
                code
            );
        }
        assert_eq!(
            notice(&said(Some(4003), "c", "m"), "p", MAX).close_code,
            4003
        );
        assert_eq!(
            notice(&said(Some(1001), "c", "m"), "p", MAX).close_code,
            4005
        );
    }

    #[test]
    fn what_a_guest_says_is_bounded_and_printable() {
        let said = said(None, "", &"a\u{1b}[2J\n".repeat(1000));
        let told = rejection(&said, "p", MAX);
        assert_eq!(
            (told.close_code, told.code.as_str()),
            (4005, "policy_denied")
        );
        assert!(told.message.len() <= MAX * 3);
        assert!(!told.message.chars().any(char::is_control));
    }
}
