//! Close message that each cause leads to: the oracle's own reading of the table of close codes.

use super::super::output::Said;
use super::super::policy::rejection;
use super::super::upstream::CLOSE_REASON;
use super::causes::Cause;
use super::view::View;

/// Expected error frame and Close for a cause: the row of the table.
pub struct CloseMessage {
    pub codes: Vec<u16>,
    /// Code of the error frame, and whether the client may retry.
    error: Option<(&'static str, bool)>,
    finalized: bool,
}

pub fn close_message(view: &View<'_>, cause: &Cause) -> CloseMessage {
    let error = |code, word, retryable| CloseMessage {
        codes: vec![code],
        error: Some((word, retryable)),
        finalized: false,
    };
    let plain = |code| CloseMessage {
        codes: vec![code],
        error: None,
        finalized: false,
    };

    match cause {
        Cause::Overloaded => error(1013, "overloaded", true),
        Cause::OriginDenied => error(4005, "policy_denied", false),
        Cause::Refused(code @ 3000..5000) => error(*code, "full", true),
        Cause::UpstreamEnded(code @ (1000 | 3000..5000)) => plain(*code),
        Cause::Refused(_) | Cause::UpstreamEnded(_) => error(4006, "upstream_unavailable", true),
        Cause::NoPlace => error(4004, "not_found", false),
        Cause::TooFast => error(4009, "stream_limit", false),
        Cause::TooLong => error(4009, "stream_limit", true),
        Cause::ResumeRefused => error(4011, "resume_refused", false),
        Cause::Resumed => error(4003, "superseded", false),
        Cause::RateLimited => error(1013, "rate_limited", true),
        Cause::NotFound => error(4004, "not_found", false),
        Cause::HandshakeInvalid => error(4000, "handshake_invalid", false),
        Cause::HandshakeTimeout => error(4000, "handshake_timeout", false),
        Cause::Internal => error(4000, "internal_error", true),
        Cause::Denied(4001) => error(4001, "auth_failed", false),
        Cause::Denied(4002) | Cause::PredecessorStays => error(4002, "ingest_exists", true),
        Cause::Evicted => error(4003, "superseded", false),
        Cause::Denied(4005) => error(4005, "policy_denied", false),
        Cause::Denied(code) => error(*code, "own_word", false),
        Cause::Upstream => error(4006, "upstream_unavailable", true),
        Cause::PolicyFailed => error(4007, "policy_failed", true),
        Cause::Idle => error(4008, "idle_timeout", true),
        Cause::TokenExpired => error(4010, "token_expired", false),
        Cause::AuthUnavailable => error(4012, "auth_unavailable", true),
        Cause::Draining => error(1001, "draining", true),
        Cause::Violation(code) => plain(*code),
        Cause::Unfinished | Cause::Gone => plain(1002),
        Cause::Stalled => plain(1001),
        Cause::Done => plain(1000),
        Cause::ClientClosed(close) => plain(close.as_ref().map_or(1000, |(code, _)| *code)),
        Cause::Finalized | Cause::Remembered => CloseMessage {
            codes: finalized_codes(view),
            error: None,
            finalized: true,
        },
    }
}

/// Whether a Close says why, so that two causes of one code are told apart.
pub fn gives_the_reason(cause: &Cause, reason: &str) -> bool {
    let one_of: &[&str] = match cause {
        Cause::Overloaded => &["the gateway is overloaded"],
        Cause::RateLimited => &["too many attempts"],
        Cause::NotFound => &["no such route"],
        Cause::HandshakeInvalid => return reason.starts_with("Handshake invalid: "),
        Cause::HandshakeTimeout => &["no handshake was received in time"],
        Cause::Internal => &["Internal error"],
        Cause::PredecessorStays => &["Ingest already active"],
        Cause::OriginDenied => &["web pages of this origin may not connect"],
        Cause::Refused(3000..5000) => &["no room"],
        Cause::Refused(_) => &["the upstream refused the stream"],
        Cause::NoPlace => &["no such place"],
        Cause::UpstreamEnded(1000 | 3000..5000) => &[CLOSE_REASON],
        Cause::UpstreamEnded(_) => &["the upstream closed the stream"],
        Cause::Upstream => &[
            "the upstream refused",
            "the upstream did not open in time",
            "the upstream takes nothing any more",
            "the upstream is lost",
            "the stream could not be completed",
        ],
        Cause::TooFast => &["audio comes faster than this route allows"],
        Cause::TooLong => &["the stream is longer than this route allows"],
        Cause::ResumeRefused => &["this stream cannot be resumed: start afresh"],
        Cause::Resumed => &["the stream goes on over another connection"],
        Cause::Evicted => &["superseded by a newer connection"],
        Cause::PolicyFailed => {
            return reason == "admission took too long"
                || reason.starts_with("policy ") && reason.ends_with(" failed");
        }
        Cause::Idle => &["nothing was received for too long"],
        Cause::TokenExpired => &["the token expired"],
        Cause::AuthUnavailable => &["the token cannot be checked at the moment"],
        Cause::Draining => &["the gateway is shutting down"],
        Cause::Unfinished => &["message was not finished in time"],
        Cause::Violation(_) => return !reason.is_empty() && !reason.ends_with("in time"),
        Cause::Gone => &[
            "the connection ended without a Close",
            "the transport broke",
        ],
        Cause::Stalled => &["the client does not read"],
        Cause::Finalized | Cause::Remembered => &["finalized"],
        Cause::Done => &["closed"],
        Cause::ClientClosed(close) => {
            return close.as_ref().map_or("", |(_, theirs)| theirs) == reason;
        }
        Cause::Denied(code) => return rejection(*code).message.starts_with(reason),
    };
    one_of.contains(&reason)
}

/// A client that closes behind its finalize may get its own code back.
fn finalized_codes(view: &View<'_>) -> Vec<u16> {
    let theirs = view
        .items
        .iter()
        .filter_map(|(_, item)| match &item.meaning {
            super::super::item::Meaning::Close(Some((code, _))) => Some(*code),
            _ => None,
        });
    theirs.chain([1000]).collect()
}

pub fn fits(close_message: &CloseMessage, code: u16, reason: &str, before: Option<&Said>) -> bool {
    match before {
        Some(Said::Error {
            code: word,
            close_code,
            retryable,
            retry_after,
            message,
        }) => {
            let due_later =
                matches!(code, 1001 | 1013) || (*word == rejection(4002).code && *retry_after);
            close_message.error == Some((word.as_str(), *retryable))
                && *close_code == code
                && *retry_after == due_later
                && message.starts_with(reason)
                && (message.len() == reason.len() || reason.len() > 119)
        }
        Some(Said::Finalized { .. }) => close_message.finalized,
        _ => close_message.error.is_none() && !close_message.finalized,
    }
}
