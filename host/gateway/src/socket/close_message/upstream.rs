//! Close messages between a client and its upstream: how the end of one is told to the other.

use super::{CloseMessage, ErrorFrame};
use crate::socket::cause::Cause;
use base::closed_by::ClosedBy;
use base::text;
use upstream::OpenError;
use wire::frame::PeerClose;

/// Bytes of the error code and of the message with which an upstream refuses.
const MAX_CODE: usize = 64;
const MAX_MESSAGE: usize = 512;
/// Close code of a connection that fulfilled its purpose.
const NORMAL: u16 = 1000;
/// Close code for an endpoint that goes away.
const GOING_AWAY: u16 = 1001;

/// Message for a stream that the upstream did not open.
pub(super) fn closed(error: &OpenError) -> CloseMessage {
    match error {
        OpenError::Unavailable { public, detail } => {
            CloseMessage::error(4006, "upstream_unavailable", public.clone(), true)
                .detail(format!("{detail:#}"))
        }
        OpenError::Away(detail) => super::not_now(format!("{detail:#}")),
        OpenError::NoPlace { public, detail } => {
            CloseMessage::error(4004, "not_found", public.clone(), false)
                .detail(format!("{detail:#}"))
        }
        OpenError::Refused(refusal) if is_for_clients(refusal.close.code) => CloseMessage {
            error: Some(ErrorFrame {
                code: match &refusal.code {
                    Some(code) => text::clean(code, MAX_CODE),
                    None => "upstream_refused".to_owned(),
                },
                message: text::clean(&refusal.message, MAX_MESSAGE),
                retryable: refusal.retryable,
                retry_after: None,
            }),
            ..CloseMessage::plain(
                "upstream_refused",
                refusal.close.code,
                "",
                ClosedBy::Upstream,
            )
        },
        OpenError::Refused(refusal) => CloseMessage::error(
            4006,
            "upstream_unavailable",
            "the upstream refused the stream",
            true,
        )
        .detail(said(&refusal.close)),
    }
}

/// Message for an upstream that closed in the middle of the stream. The upstream has sent what it
/// had to say about that in a message before.
pub(super) fn ended(close: &PeerClose) -> CloseMessage {
    if close.code == NORMAL || is_for_clients(close.code) {
        let reason = close.reason.clone();
        return CloseMessage::plain("upstream_closed", close.code, reason, ClosedBy::Upstream);
    }
    CloseMessage::error(
        4006,
        "upstream_unavailable",
        "the upstream closed the stream",
        true,
    )
    .detail(said(close))
}

/// Whether an upstream's close code is passed on to the client: only those of its application are.
/// The others are about the upstream itself or its transport (RFC 6455, section 7.4).
fn is_for_clients(code: u16) -> bool {
    (3000..5000).contains(&code)
}

fn said(close: &PeerClose) -> String {
    format!("it closed with {} \"{}\"", close.code, close.reason)
}

/// Close that the upstream of an incomplete stream gets.
pub(in crate::socket) fn for_upstream(cause: &Cause) -> PeerClose {
    match cause {
        Cause::ClientClosed(Some(close)) => close.clone(),
        Cause::ClientClosed(None) => PeerClose {
            code: NORMAL,
            reason: String::new(),
        },
        cause => PeerClose {
            code: GOING_AWAY,
            reason: CloseMessage::of(cause).name.to_owned(),
        },
    }
}
