//! Stream: frames go up, messages come down, until something ends it.
//!
//! One task drives everything of a connection by polling. The gateway reads the client's next frame
//! only when the upstream is ready for it and when there is room for an answer. So TCP holds both
//! sides back, and neither can make the gateway buffer without bound.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

use super::cause::Cause;
use super::connection::{Connection, interrupted};
use super::handshake::{ClientProtocol, Ready};
use super::linger::{Heard, Peer};
use super::open_socket::{OpenSocket, Parts};
use super::resume::{self, Left};
use super::watch::Watch;
use crate::connections::Stage;
use crate::parking::{Attachment, Remembered, Stream};
use crate::routes::Route;
use base::shutdown::Shutdown;
use upstream::Sealed;

mod complete;
mod deadlines;
mod input;
mod relay;
mod renewal;
mod seal;
mod token;

use complete::FinalizedClient;
use relay::{Input, Relay};
use renewal::Renewals;
use seal::{confirmation, outcome, seal};

/// Connection whose upstream is sealed, ready for the close stage.
pub struct Finished {
    pub(super) socket: OpenSocket,
    pub(super) cause: Cause,
    /// What the client sent while its stream was completed.
    pub(super) heard: Heard,
    /// Confirmation for a client that finalized.
    pub(super) finalized: Option<Vec<u8>>,
    /// Set if the client may reconnect to ask for that confirmation.
    pub(super) remembered: Option<Remembered>,
}

/// Relays until the stream ends, and seals its upstream.
///
/// An idle connection is in this future, so it holds nothing twice: what comes after the relay is
/// boxed.
pub async fn relay(ready: Box<Ready>) -> Finished {
    let Ready {
        mut connection,
        route,
        speaks,
        negotiated,
    } = unboxed(ready);
    let (mut stream, attachment) = match negotiated.stream() {
        Ok(stream) => stream,
        Err(bytes) => {
            return Finished {
                socket: connection.release(),
                cause: Cause::Finalized,
                heard: Heard::of(Peer::Speaking),
                finalized: Some(confirmation(bytes, speaks)),
                remembered: None,
            };
        }
    };
    let mut heard = Heard::of(Peer::Speaking);
    let cause = run(
        &mut connection.socket,
        &route,
        speaks,
        &mut stream,
        attachment.as_ref(),
        &mut heard,
    )
    .await;
    connection.socket.log.stage_ended(Stage::Stream);
    stream.bytes += connection.socket.log.live.received();
    let (connection, stream, attachment) =
        match resume::park(connection, stream, attachment, &cause) {
            Left::Ends(connection, stream, attachment) => (connection, stream, attachment),
            Left::Parked(socket) => {
                return Finished {
                    socket,
                    cause,
                    heard,
                    finalized: None,
                    remembered: None,
                };
            }
        };
    Box::pin(conclude(
        connection, speaks, stream, attachment, cause, heard,
    ))
    .await
}

/// Frees a box, and keeps what was in it. A box that is taken apart where it stands is freed at the
/// end of its scope, which in a future is the end of the connection.
#[expect(clippy::boxed_local, reason = "to free the box is what it is for")]
fn unboxed<T>(boxed: Box<T>) -> T {
    *boxed
}

/// Seals the upstream of a stream that has ended.
async fn conclude(
    mut connection: Connection,
    speaks: ClientProtocol,
    stream: Stream,
    attachment: Option<Attachment>,
    cause: Cause,
    mut heard: Heard,
) -> Finished {
    let Parts { wire, limits, .. } = &mut **connection.socket;
    let ending = seal::ending(&cause, attachment.as_ref().filter(|_| stream.bytes > 0));
    let sealing = seal(stream.link, stream.charge, ending, limits.write_timeout);
    let sealed = match &cause {
        Cause::Finalized | Cause::ClientDone => {
            let client = FinalizedClient::of(wire, speaks, limits.max_discard);
            client.attend(&mut heard, sealing).await
        }
        _ => sealing.await,
    };
    connection.socket.log.stage_ended(Stage::Seal);
    let has_audio = matches!(sealed, Ok(Sealed { bytes: 1.. }) | Err(_));
    if let (Cause::Draining, Some(attachment), true) = (&cause, &attachment, has_audio) {
        // The next process can go on with it. A recording without audio is gone.
        attachment.leave_stored();
    }
    let (cause, complete) = outcome(cause, sealed);
    if let Cause::TakenOver = cause {
        connection.session().goes_on_elsewhere();
    }
    Finished {
        socket: connection.release(),
        cause,
        heard,
        finalized: complete.map(|bytes| confirmation(bytes, speaks)),
        remembered: complete.and_then(|bytes| attachment?.complete(bytes)),
    }
}

/// Waits until the stream goes on elsewhere: over another connection of its client, or in another
/// process.
async fn goes_on_elsewhere(attachment: Option<&Attachment>, shutdown: &Shutdown) -> Cause {
    let Some(attachment) = attachment else {
        return std::future::pending().await;
    };
    // Boxed, so that a stream that cannot be resumed holds no memory for this future.
    Box::pin(async {
        tokio::select! {
            biased;
            () = attachment.wanted() => Cause::Resumed,
            () = attachment.taken_elsewhere() => Cause::TakenOver,
            () = attachment.handed_over(shutdown) => Cause::Draining,
        }
    })
    .await
}

async fn run(
    socket: &mut Parts,
    route: &Arc<Route>,
    speaks: ClientProtocol,
    stream: &mut Stream,
    attachment: Option<&Attachment>,
    heard: &mut Heard,
) -> Cause {
    let watch = Watch::begin(socket, route);
    let Parts {
        wire,
        session,
        limits,
        gateway,
        log,
        ..
    } = socket;
    log.stream_begins(&stream.destination, stream.bytes);
    let renewals = Renewals::begin(session, gateway, route, speaks.renews());
    // Nothing was read while the upstream opened.
    let held = Input::Held {
        since: wire.reader.last_received(),
    };
    let Stream {
        link,
        pace,
        said,
        charge,
        destination,
        ..
    } = stream;
    let mut relay = Relay {
        session,
        wire,
        link: &mut **link,
        said,
        returned: attachment,
        limits,
        log,
        speaks,
        input: held,
        upstream_busy_since: None,
        renewals,
        last_ping: Instant::now(),
        watch,
        pace,
        destination,
        charge,
        request: session.facts.weight(),
    };
    let mut alarm = pin!(sleep_until(relay.next_deadline()));
    let mut interrupted = pin!(interrupted(session, gateway));
    let cause = {
        let mut elsewhere = pin!(goes_on_elsewhere(attachment, &gateway.shutdown));
        poll_fn(|cx| {
            if let Poll::Ready(cause) = interrupted.as_mut().poll(cx) {
                return Poll::Ready(cause);
            }
            if let Poll::Ready(cause) = relay.poll(cx, alarm.as_mut()) {
                return Poll::Ready(cause);
            }
            elsewhere.as_mut().poll(cx)
        })
        .await
    };
    match cause {
        Cause::Finalized | Cause::ClientDone => {
            // Boxed, so that a stream which runs holds no memory for its end.
            let completing = Box::pin(relay.complete(cause, heard));
            tokio::select! {
                biased;
                cause = interrupted => cause,
                cause = completing => cause,
            }
        }
        cause => cause,
    }
}

#[cfg(test)]
mod tests;
