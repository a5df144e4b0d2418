//! Error frame and Close of a connection: the only map from the cause of an end to what the peer is
//! told.

use std::time::Duration;

use super::linger::Peer;
use crate::parking::pace::StreamLimit;
use crate::socket::cause::Cause;
use crate::socket::message::HostMessage;
use base::closed_by::ClosedBy;
use base::permits::NoMemory;
use base::text;
use session::rate_limit::TooMany;
use wire::frame::{PeerClose, Violation};

mod upstream;

pub(in crate::socket) use upstream::for_upstream;

/// Bytes of a close reason: a control frame has 125, and 2 are the code's.
const MAX_REASON: usize = 123;
/// Milliseconds after which clients should retry when the gateway cannot serve them now. Spread
/// out, so that they do not all retry at once.
const RETRY_AFTER: std::ops::Range<u64> = 1_000..5_000;

/// All kinds of end: the name of the cause, the close code, and who closed. Of the codes that a
/// client, a policy or an upstream chooses, only some.
pub const KINDS: &[(&str, u16, ClosedBy)] = &[
    ("finalized", 1000, ClosedBy::Client),
    ("closed", 1000, ClosedBy::Client),
    ("client_closed", 1000, ClosedBy::Client),
    ("client_closed", 1001, ClosedBy::Client),
    ("draining", 1001, ClosedBy::Gateway),
    ("stalled", 1001, ClosedBy::Gateway),
    ("protocol_error", 1002, ClosedBy::Gateway),
    ("message_unfinished", 1002, ClosedBy::Gateway),
    ("eof", 1002, ClosedBy::Transport),
    ("gone", 1002, ClosedBy::Transport),
    ("not_utf8", 1007, ClosedBy::Gateway),
    ("message_too_big", 1009, ClosedBy::Gateway),
    ("overloaded", 1013, ClosedBy::Gateway),
    ("rate_limited", 1013, ClosedBy::Gateway),
    ("service_unavailable", 1013, ClosedBy::Gateway),
    ("unavailable", 1013, ClosedBy::Gateway),
    ("handshake_invalid", 4000, ClosedBy::Gateway),
    ("handshake_timeout", 4000, ClosedBy::Gateway),
    ("internal_error", 4000, ClosedBy::Gateway),
    ("denied", 4000, ClosedBy::Gateway),
    ("denied", 4001, ClosedBy::Gateway),
    ("denied", 4002, ClosedBy::Gateway),
    ("denied", 4005, ClosedBy::Gateway),
    ("denied", 4100, ClosedBy::Gateway),
    ("ingest_exists", 4002, ClosedBy::Gateway),
    ("superseded", 4003, ClosedBy::Gateway),
    ("ended_by_operator", 4003, ClosedBy::Gateway),
    ("not_found", 4004, ClosedBy::Gateway),
    ("policy_denied", 4005, ClosedBy::Gateway),
    ("upstream_unavailable", 4006, ClosedBy::Gateway),
    ("policy_failed", 4007, ClosedBy::Gateway),
    ("idle_timeout", 4008, ClosedBy::Gateway),
    ("stream_limit", 4009, ClosedBy::Gateway),
    ("token_expired", 4010, ClosedBy::Gateway),
    ("resume_refused", 4011, ClosedBy::Gateway),
    ("auth_unavailable", 4012, ClosedBy::Gateway),
    ("upstream_closed", 1000, ClosedBy::Upstream),
    ("upstream_closed", 3000, ClosedBy::Upstream),
    ("upstream_closed", 4100, ClosedBy::Upstream),
    ("upstream_refused", 3000, ClosedBy::Upstream),
    ("upstream_refused", 4100, ClosedBy::Upstream),
];

/// Error frame and Close that end a connection, and what the log says about it.
///
/// [`CloseMessage::of`] is the only map from a cause to these. Only the close stage can put them on
/// the wire.
#[derive(Debug)]
pub struct CloseMessage {
    /// Name of the cause in the log: the error frame's code, if there is an error frame.
    pub(super) name: &'static str,
    close_code: u16,
    /// Error frame that is sent before the Close.
    error: Option<ErrorFrame>,
    /// Close reason if there is no error frame.
    plain: String,
    /// Detail for the operator's log only.
    pub(super) detail: String,
    /// Who ended the connection.
    pub(super) closed_by: ClosedBy,
    pub(super) peer: Peer,
}

/// Content of an error frame.
#[derive(Debug)]
struct ErrorFrame {
    code: String,
    message: String,
    retryable: bool,
    retry_after: Option<Duration>,
}

impl CloseMessage {
    /// Message for this cause. The close codes are those of `ingest.v1`, in the order of its table.
    #[must_use]
    pub fn of(cause: &Cause) -> Self {
        match cause {
            Cause::Finalized => Self::plain("finalized", 1000, "finalized", ClosedBy::Client),
            Cause::ClientDone => Self::plain("closed", 1000, "closed", ClosedBy::Client),
            Cause::ClientClosed(close) => client_closed(close.as_ref()),
            Cause::Draining => Self::error(1001, "draining", "the gateway is shutting down", true)
                .retry_after(jittered(RETRY_AFTER)),
            Cause::Violation(violation) => violated(*violation),
            Cause::Overloaded => Self::error(1013, "overloaded", "the gateway is overloaded", true)
                .retry_after(jittered(RETRY_AFTER)),
            Cause::ShareUsedUp => Self::error(
                1013,
                "overloaded",
                "this client has as many connections as it may have",
                true,
            )
            .retry_after(jittered(RETRY_AFTER)),
            Cause::NoMemory(refused) => {
                let message = match refused {
                    NoMemory::Full => "the gateway is overloaded",
                    NoMemory::Share => "this client makes the gateway hold too much",
                };
                Self::error(1013, "overloaded", message, true)
                    .retry_after(jittered(RETRY_AFTER))
                    .detail(refused.to_string())
            }
            Cause::RateLimited(TooMany(wait)) => {
                Self::error(1013, "rate_limited", "too many attempts", true).retry_after(*wait)
            }
            Cause::ServiceUnavailable(unanswered) => Self::error(
                1013,
                "service_unavailable",
                "a service that is needed for this decision is not available at the moment",
                true,
            )
            .retry_after(jittered(RETRY_AFTER))
            .detail(unanswered.to_string()),
            Cause::HandshakeInvalid(why) => Self::error(
                4000,
                "handshake_invalid",
                format!("Handshake invalid: {why}"),
                false,
            ),
            Cause::HandshakeTimeout => Self::error(
                4000,
                "handshake_timeout",
                "no handshake was received in time",
                false,
            ),
            Cause::Internal => Self::error(4000, "internal_error", "Internal error", true),
            Cause::ClaimsUnknown(why) => not_now(why.clone()),
            Cause::PredecessorStays => {
                Self::error(4002, "ingest_exists", "Ingest already active", true).detail(
                    "the connection that was evicted did not end within the admission timeout",
                )
            }
            Cause::Evicted(rejection) => denied("superseded", rejection),
            Cause::EndedByOperator(reason) => {
                Self::error(4003, "ended_by_operator", reason.clone(), false)
            }
            Cause::NotFound => Self::error(4004, "not_found", "no such route", false),
            Cause::Denied(rejection) => denied("denied", rejection),
            Cause::UpstreamClosed(error) => upstream::closed(error),
            Cause::UpstreamEnded(close) => upstream::ended(close),
            Cause::UpstreamSlow => Self::error(
                4006,
                "upstream_unavailable",
                "the upstream did not open in time",
                true,
            ),
            Cause::UpstreamStalled => Self::error(
                4006,
                "upstream_unavailable",
                "the upstream takes nothing any more",
                true,
            ),
            Cause::UpstreamLost(lost) => {
                Self::error(4006, "upstream_unavailable", lost.public.clone(), true)
                    .detail(format!("{:#}", lost.detail))
            }
            Cause::OriginDenied => Self::error(
                4005,
                "policy_denied",
                "web pages of this origin may not connect",
                false,
            ),
            Cause::PolicyFailed { policy, detail } => {
                let message = match policy {
                    Some(policy) => format!("policy {policy} failed"),
                    None => "admission took too long".to_owned(),
                };
                Self::error(4007, "policy_failed", message, true).detail(detail.clone())
            }
            Cause::Idle => Self::error(
                4008,
                "idle_timeout",
                "nothing was received for too long",
                true,
            ),
            Cause::ResumeRefused => Self::error(
                4011,
                "resume_refused",
                "this stream cannot be resumed: start afresh",
                false,
            ),
            Cause::TakenOver => Self::error(
                4003,
                "superseded",
                "another gateway goes on with this stream",
                false,
            ),
            Cause::Resumed => Self::error(
                4003,
                "superseded",
                "the stream goes on over another connection",
                false,
            ),
            Cause::StreamLimit(limit) => stream_limit(*limit),
            Cause::TokenExpired => Self::error(4010, "token_expired", "the token expired", false),
            Cause::AuthUnavailable => Self::error(
                4012,
                "auth_unavailable",
                "the token cannot be checked at the moment",
                true,
            ),
            // No error frame: it would wait behind data that the client does not read.
            Cause::Stalled => Self::plain(
                "stalled",
                1001,
                "the client does not read",
                ClosedBy::Gateway,
            )
            .peer(Peer::Stalled),
            Cause::Eof => Self::plain(
                "eof",
                1002,
                "the connection ended without a Close",
                ClosedBy::Transport,
            )
            .peer(Peer::Gone),
            Cause::Gone(error) => {
                Self::plain("gone", 1002, "the transport broke", ClosedBy::Transport)
                    .detail(error.to_string())
                    .peer(Peer::Gone)
            }
        }
    }

    /// The close code: one that RFC 6455, section 7.4, lets onto the wire.
    #[must_use]
    pub fn close_code(&self) -> u16 {
        self.close_code
    }

    /// The TEXT message that comes before the Close; `None` where the Close
    /// comes alone.
    #[must_use]
    pub fn error_frame(&self, session_id: &str) -> Option<Vec<u8>> {
        let ErrorFrame {
            code,
            message,
            retryable,
            retry_after,
        } = self.error.as_ref()?;
        let message = HostMessage::error(
            code,
            message,
            self.close_code,
            *retryable,
            *retry_after,
            session_id,
        );
        Some(message.to_json())
    }

    /// The close reason, cut at a character to what a control frame holds.
    #[must_use]
    pub fn reason(&self) -> String {
        text::clip(self.sentence(), MAX_REASON)
    }

    /// Code of the error frame, and whether the client may try again; `None` if there is no error
    /// frame.
    pub(super) fn error_code(&self) -> Option<(&str, bool)> {
        let error = self.error.as_ref()?;
        Some((&error.code, error.retryable))
    }

    /// The whole sentence for the client, of which the close reason is the beginning.
    #[must_use]
    pub fn sentence(&self) -> &str {
        let error = self.error.as_ref();
        error.map_or(&self.plain, |error| &error.message)
    }

    /// Message with an error frame, for a refusal or failure of the gateway itself.
    fn error(
        close_code: u16,
        code: &'static str,
        message: impl Into<String>,
        retryable: bool,
    ) -> Self {
        Self {
            name: code,
            close_code,
            error: Some(ErrorFrame {
                code: code.to_owned(),
                message: message.into(),
                retryable,
                retry_after: None,
            }),
            plain: String::new(),
            detail: String::new(),
            closed_by: ClosedBy::Gateway,
            peer: Peer::Speaking,
        }
    }

    /// Message without an error frame.
    fn plain(
        name: &'static str,
        close_code: u16,
        reason: impl Into<String>,
        closed_by: ClosedBy,
    ) -> Self {
        Self {
            name,
            close_code,
            error: None,
            plain: reason.into(),
            detail: String::new(),
            closed_by,
            peer: Peer::Speaking,
        }
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    fn retry_after(mut self, after: Duration) -> Self {
        if let Some(error) = &mut self.error {
            error.retry_after = Some(after);
        }
        self
    }

    fn peer(mut self, peer: Peer) -> Self {
        self.peer = peer;
        self
    }
}

/// The client's code goes back to it; a Close without one is answered 1000.
fn client_closed(close: Option<&PeerClose>) -> CloseMessage {
    let (code, reason) = close.map_or((1000, ""), |close| (close.code, close.reason.as_str()));
    CloseMessage::plain("client_closed", code, reason, ClosedBy::Client).peer(Peer::Closed)
}

fn denied(name: &'static str, rejection: &base::rejection::Rejection) -> CloseMessage {
    CloseMessage {
        name,
        close_code: rejection.close_code,
        error: Some(ErrorFrame {
            code: rejection.code.clone(),
            message: rejection.message.clone(),
            retryable: rejection.retryable,
            retry_after: rejection.retry_after,
        }),
        plain: String::new(),
        detail: rejection.code.clone(),
        closed_by: ClosedBy::Gateway,
        peer: Peer::Speaking,
    }
}

fn stream_limit(limit: StreamLimit) -> CloseMessage {
    let (message, retryable) = match limit {
        StreamLimit::TooFast => ("audio comes faster than this route allows", false),
        // A new stream may go on where this one ended.
        StreamLimit::TooLong => ("the stream is longer than this route allows", true),
    };
    CloseMessage::error(4009, "stream_limit", message, retryable)
}

fn violated(violation: Violation) -> CloseMessage {
    let name = match violation {
        Violation::Protocol(_) => "protocol_error",
        Violation::Unfinished => "message_unfinished",
        Violation::NotUtf8 => "not_utf8",
        Violation::TooBig => "message_too_big",
    };
    let code = violation.close_code();
    CloseMessage::plain(name, code, violation.to_string(), ClosedBy::Gateway).peer(Peer::Lost)
}

/// The servers that gateways share cannot be reached, or do not answer in time.
fn not_now(detail: String) -> CloseMessage {
    let message = "the gateway cannot admit this connection at the moment";
    CloseMessage::error(1013, "unavailable", message, true)
        .retry_after(jittered(RETRY_AFTER))
        .detail(detail)
}

fn jittered(milliseconds: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(fastrand::u64(milliseconds))
}

#[cfg(test)]
mod tests;
