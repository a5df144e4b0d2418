//! Stream: frames go up, messages come down, until something ends it.
//!
//! One task drives everything of a connection by polling. The gateway reads the client's next frame
//! only when the upstream is ready for it and when there is room for an answer. So TCP holds both
//! sides back, and neither can make the gateway buffer without bound.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::cause::Cause;
use super::connection::interrupted;
use super::handshake::{Negotiated, Ready};
use super::linger::{Heard, Peer};
use super::open_socket::{OpenSocket, Parts};
use super::resume::{self, Left};
use super::watch::Watch;
use crate::parking::{Attachment, Remembered, Stream};
use crate::routes::Route;
use base::limits::TokenExpiry;
use session::handshake::Handshake;

mod complete;
mod deadlines;
mod input;
mod relay;
mod seal;

use complete::Client;
use relay::{Input, Relay};
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
/// Boxed, because an async fn's future keeps its arguments for its whole life.
pub async fn relay(ready: Box<Ready>) -> Finished {
    let Ready {
        mut connection,
        route,
        handshake,
        negotiated,
    } = *ready;
    let (mut stream, attachment) = match negotiated {
        Negotiated::Stream(stream, attachment) => (stream, attachment),
        Negotiated::Complete(bytes) => {
            return Finished {
                socket: connection.release(),
                cause: Cause::Finalized,
                heard: Heard::of(Peer::Speaking),
                finalized: Some(confirmation(bytes, handshake.as_ref())),
                remembered: None,
            };
        }
    };
    let mut heard = Heard::of(Peer::Speaking);
    let running = run(
        &mut connection.socket,
        &route,
        handshake.as_ref(),
        &mut stream,
        attachment.as_ref(),
        &mut heard,
    );
    let cause = running.await;
    connection.socket.log.stage_ended("stream");
    stream.bytes += connection.socket.log.bytes_up;
    let parked = resume::park(connection, stream, attachment, &cause);
    let (mut connection, stream, attachment) = match parked {
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
    let Parts { wire, limits, .. } = &mut **connection.socket;
    let sealing = seal(stream.link, stream.charge, &cause, limits.write_timeout);
    let sealed = match &cause {
        Cause::Finalized | Cause::ClientDone => {
            let client = Client::of(wire, handshake.is_some(), limits.max_discard);
            Box::pin(client.attend(&mut heard, sealing)).await
        }
        _ => sealing.await,
    };
    connection.socket.log.stage_ended("seal");
    let (cause, complete) = outcome(cause, sealed);
    Finished {
        socket: connection.release(),
        cause,
        heard,
        finalized: complete.map(|bytes| confirmation(bytes, handshake.as_ref())),
        remembered: complete.and_then(|bytes| attachment?.complete(bytes)),
    }
}

/// Waits until the client wants to resume the stream over another connection.
async fn wanted(attachment: Option<&Attachment>) {
    match attachment {
        // Boxed, so that a stream that cannot be resumed holds no memory for this future.
        Some(attachment) => Box::pin(attachment.wanted()).await,
        None => std::future::pending().await,
    }
}

async fn run(
    socket: &mut Parts,
    route: &Arc<Route>,
    handshake: Option<&Handshake>,
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
    log.streamed = true;
    let token_ends = match limits.token_expiry {
        TokenExpiry::Close => session.expires_in().map(|left| Instant::now() + left),
        TokenExpiry::Ignore => None,
    };
    // Nothing was read while the upstream opened.
    let held = Input::Held {
        since: wire.reader.last_received(),
    };
    let Stream {
        link,
        pace,
        said,
        charge,
        ..
    } = stream;
    let mut relay = Relay {
        wire,
        link: &mut **link,
        said,
        returned: attachment,
        limits,
        log,
        json: handshake.is_some(),
        input: held,
        upstream_busy_since: None,
        token_ends,
        last_ping: Instant::now(),
        watch,
        pace,
        charge,
        request: session.facts.weight(),
    };
    let alarm = sleep_until(relay.next_deadline());
    let relaying = async {
        let cause = tokio::select! {
            biased;
            cause = relay.run(alarm) => cause,
            () = wanted(attachment) => return Cause::Resumed,
        };
        match cause {
            // In a box, so that a stream which runs holds no memory for its end.
            Cause::Finalized | Cause::ClientDone => Box::pin(relay.complete(cause, heard)).await,
            cause => cause,
        }
    };
    tokio::select! {
        biased;
        cause = interrupted(session, gateway) => cause,
        cause = relaying => cause,
    }
}

#[cfg(test)]
mod tests;
