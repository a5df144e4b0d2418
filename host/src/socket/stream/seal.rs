//! Making safe what a stream has brought, and what that means for its end.

use std::time::Duration;

use tokio::time::timeout;

use crate::handshake::Handshake;
use crate::socket::cause::Cause;
use crate::socket::close;
use crate::socket::message::HostMessage;
use crate::upstream::{Ending, Link, Lost, Sealed, duration_of};

/// Waits for the upstream to make safe what it has, within bounds: a disk that
/// hangs must not hold the client's claims for ever. A failure is the cause
/// that a stream which was complete ends with.
pub(super) async fn seal(
    link: Box<dyn Link>,
    cause: &Cause,
    limit: Duration,
) -> Result<Sealed, Cause> {
    let ending = match cause {
        Cause::Finalized | Cause::ClientDone => Ending::Complete,
        cause => Ending::Cut(close::farewell(cause)),
    };
    let limit = match ending {
        // A client that waits for the end waits for its upstream to come back.
        Ending::Complete => limit + link.outage(),
        Ending::Cut(_) => limit,
    };
    // In a task of its own, so that giving up waiting does not give up sealing.
    let sealing = tokio::spawn(link.seal(ending));
    match timeout(limit, sealing).await {
        Ok(Ok(result)) => result.map_err(Cause::UpstreamLost),
        // The panic itself was logged, and counted, where it happened.
        Ok(Err(_)) => Err(Cause::Internal),
        Err(elapsed) => Err(Cause::UpstreamLost(Lost {
            public: "the stream could not be completed".to_owned(),
            detail: elapsed.into(),
        })),
    }
}

/// What a client is told that finalized a stream of so many bytes.
pub(super) fn confirmation(bytes: u64, handshake: Option<&Handshake>) -> Vec<u8> {
    let duration = handshake
        .map(|handshake| duration_of(bytes, handshake))
        .unwrap_or_default();
    HostMessage::finalized(bytes, duration).to_json()
}

/// A stream that could not be sealed did not end well, whatever its client
/// asked for. Gives the size of one that was finalized and is complete.
pub(super) fn outcome(cause: Cause, sealed: Result<Sealed, Cause>) -> (Cause, Option<u64>) {
    match (cause, sealed) {
        (Cause::Finalized | Cause::ClientDone, Err(failed)) => (failed, None),
        (Cause::Finalized, Ok(Sealed { bytes })) => (Cause::Finalized, Some(bytes)),
        (cause, Ok(_)) => (cause, None),
        (cause, Err(failed)) => {
            tracing::warn!(?failed, "the upstream could not be sealed");
            (cause, None)
        }
    }
}
