//! What an upstream's own end says to the client, and the client's to it.

use super::{ErrorWords, Words};
use crate::socket::cause::Cause;
use base::closed_by::ClosedBy;
use base::text;
use upstream::OpenError;
use wire::frame::PeerClose;

/// Bytes of the word and of the sentence with which an upstream refuses.
const MAX_WORD: usize = 64;
const MAX_SENTENCE: usize = 512;
/// The code of a connection that fulfilled its purpose.
const NORMAL: u16 = 1000;
/// The code of an end whose side is no more there.
const GOING_AWAY: u16 = 1001;

/// Before the ack.
pub(super) fn closed(error: &OpenError) -> Words {
    match error {
        OpenError::Unavailable { public, detail } => {
            Words::error(4006, "upstream_unavailable", public.clone(), true)
                .detail(format!("{detail:#}"))
        }
        OpenError::NoPlace { public, detail } => {
            Words::error(4004, "not_found", public.clone(), false).detail(format!("{detail:#}"))
        }
        OpenError::Refused(refusal) if is_for_clients(refusal.close.code) => Words {
            error: Some(ErrorWords {
                code: match &refusal.code {
                    Some(code) => text::clean(code, MAX_WORD),
                    None => "upstream_refused".to_owned(),
                },
                message: text::clean(&refusal.message, MAX_SENTENCE),
                retryable: refusal.retryable,
                retry_after: None,
            }),
            ..Words::plain(
                "upstream_refused",
                refusal.close.code,
                "",
                ClosedBy::Upstream,
            )
        },
        OpenError::Refused(refusal) => Words::error(
            4006,
            "upstream_unavailable",
            "the upstream refused the stream",
            true,
        )
        .detail(said(&refusal.close)),
    }
}

/// In the middle of the stream. What the upstream had to say about it, it said
/// in a message before.
pub(super) fn ended(close: &PeerClose) -> Words {
    if close.code == NORMAL || is_for_clients(close.code) {
        let reason = close.reason.clone();
        return Words::plain("upstream_closed", close.code, reason, ClosedBy::Upstream);
    }
    Words::error(
        4006,
        "upstream_unavailable",
        "the upstream closed the stream",
        true,
    )
    .detail(said(close))
}

/// Whether a code of an upstream is one of its application. The others speak
/// of the upstream itself or of its transport (RFC 6455, section 7.4), which
/// are no business of a client's.
fn is_for_clients(code: u16) -> bool {
    (3000..5000).contains(&code)
}

fn said(close: &PeerClose) -> String {
    format!("it closed with {} \"{}\"", close.code, close.reason)
}

/// What an upstream is told of the end of a stream that is not complete.
pub(in crate::socket) fn farewell(cause: &Cause) -> PeerClose {
    match cause {
        Cause::ClientClosed(Some(close)) => close.clone(),
        Cause::ClientClosed(None) => PeerClose {
            code: NORMAL,
            reason: String::new(),
        },
        cause => PeerClose {
            code: GOING_AWAY,
            reason: Words::of(cause).name.to_owned(),
        },
    }
}
