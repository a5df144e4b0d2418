//! Making safe what a stream has brought, and what that means for its end.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::parking::Attachment;
use crate::socket::cause::Cause;
use crate::socket::close_message;
use crate::socket::handshake::ClientProtocol;
use crate::socket::message::HostMessage;
use crate::watchdog::watched;
use base::permits::Charge;
use base::text;
use session::handshake::duration_of;
use upstream::{Link, Lost, Sealed, StreamEnd};

/// Waits for the upstream to make safe what it has, within bounds: a disk that
/// hangs must not hold the client's claims for ever. A failure is the cause
/// that a stream which was complete ends with.
pub(super) async fn seal(
    link: Box<dyn Link>,
    charge: Charge,
    ending: StreamEnd,
    limit: Duration,
) -> Result<Sealed, Cause> {
    let limit = match ending {
        // A client that waits for the end waits for its upstream to come back.
        StreamEnd::Complete => limit + link.outage(),
        StreamEnd::Cut(_) | StreamEnd::Left => limit,
    };
    // In a task of its own, so that giving up waiting does not give up sealing.
    let sealing = link.seal(ending);
    let sealing = async move {
        let sealed = sealing.await;
        drop(charge);
        sealed
    };
    let mut sealing = tokio::spawn(watched(sealing).in_current_span());
    match timeout(limit, &mut sealing).await {
        Ok(Ok(result)) => result.map_err(Cause::from),
        // The panic itself was logged, and counted, where it happened.
        Ok(Err(_)) => Err(Cause::Internal),
        Err(elapsed) => {
            tokio::spawn(outlast(sealing).in_current_span());
            Err(Cause::UpstreamLost(Lost {
                public: "the stream could not be completed".to_owned(),
                detail: elapsed.into(),
            }))
        }
    }
}

/// How a stream ends at its upstream. The next process goes on with one that is `stored`.
pub(super) fn ending(cause: &Cause, attachment: Option<&Attachment>) -> StreamEnd {
    match (cause, attachment) {
        (Cause::Finalized | Cause::ClientDone, _) => StreamEnd::Complete,
        (Cause::Draining, Some(attachment)) if attachment.is_stored() => StreamEnd::Left,
        (cause, _) => StreamEnd::Cut(close_message::for_upstream(cause)),
    }
}

/// Tells what became of a seal that nobody waits for any more: whether the
/// stream is whole is known only now.
async fn outlast(sealing: JoinHandle<Result<Sealed, Lost>>) {
    match sealing.await {
        Ok(Ok(sealed)) => {
            tracing::info!(bytes = sealed.bytes, "the upstream was sealed after all");
        }
        Ok(Err(lost)) => tracing::warn!(
            error = %lost,
            detail = text::clean(&format!("{:#}", lost.detail), 2048),
            "the upstream could not be sealed, and took long to say so"
        ),
        // A panic was logged, and counted, where it happened.
        Err(_) => {}
    }
}

/// What a client is told that finalized a stream of so many bytes.
pub(super) fn confirmation(bytes: u64, speaks: ClientProtocol) -> Vec<u8> {
    let duration = match speaks {
        ClientProtocol::IngestV1 {
            bytes_per_second, ..
        } => duration_of(bytes, bytes_per_second),
        ClientProtocol::Plain => Duration::ZERO,
    };
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
