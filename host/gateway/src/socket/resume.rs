//! Resumption of a stream whose client lost its connection.

use std::sync::Arc;
use std::time::Duration;

use super::cause::Cause;
use super::close_message;
use super::connection::Connection;
use super::open_socket::OpenSocket;
use crate::connections::Stage;
use crate::parking::{
    Attachment, Found, NotStored, OpenStream, Owner, ParkLimits, Remembered, Returning, Sought,
    Stream, Taken,
};
use crate::routes::{Gateway, Route};
use crate::watchdog::watched;
use base::limits::Limits;
use session::handshake::{ACK, Handshake, RESUME};
use session::registry::unix_ms;
use session::store::StoreError;
use upstream::{OpenError, Receipts, StreamEnd};
use wire::frame::Violation;

/// Takes the stream that the client wants to resume. A connection of another client, or one that
/// comes too late, is refused.
pub(super) async fn take(
    connection: &mut Connection,
    route: &Route,
    returning: &Returning,
    handshake: &Handshake,
) -> Result<Taken, Cause> {
    let owner = owner(connection, route, handshake);
    match connection.budget.spend(returning.take(&owner)).await {
        Some(Some(taken)) => Ok(taken),
        Some(None) => Err(not_there(&connection.socket.gateway)),
        // The stream exists, but its connection has not released it: the client may retry.
        None => Err(Cause::PredecessorStays),
    }
}

/// Finds the stream of another gateway.
pub(super) async fn seek(connection: &mut Connection, sought: Sought) -> Result<Found, Cause> {
    match connection.budget.spend(sought.find()).await {
        Some(Ok(Some(found))) => Ok(found),
        Some(Ok(None)) => Err(not_there(&connection.socket.gateway)),
        Some(Err(error)) => Err(Cause::UpstreamClosed(OpenError::unavailable(
            "it is not known now where the stream is",
            error,
        ))),
        None => Err(Cause::UpstreamSlow),
    }
}

/// Why a client cannot have the stream that it comes back for. A gateway that stops has left it to the
/// next process, so the client comes back once more.
pub(super) fn not_there(gateway: &Gateway) -> Cause {
    if gateway.shutdown.is_leaving() {
        Cause::Draining
    } else {
        Cause::ResumeRefused
    }
}

/// Attaches the stream to a slot, if its client asked for resumption and it is possible. A client
/// can only send again what was not acknowledged, so resumption needs receipts.
pub(super) fn attach(
    connection: &Connection,
    route: &Route,
    handshake: &Handshake,
    stream: &Stream,
) -> Option<Attachment> {
    let asked = handshake.has(ACK) && handshake.has(RESUME);
    let possible = connection.socket.limits.resume_grace.is_some()
        && stream.link.receipts() == Receipts::Given;
    let attach = || {
        let owner = owner(connection, route, handshake);
        let gateway = &connection.socket.gateway;
        gateway.parking.attach(connection.session(), owner)
    };
    (asked && possible).then(attach)
}

/// Another gateway has taken the stream since its client left this one.
pub(super) struct Moved;

/// Stores the stream for the next process, if it can go on there. `None` if that fails: its client
/// must not rely on coming back.
///
/// # Errors
/// [`Moved`] if what this gateway has of the stream is stale.
///
/// The future borrows nothing of the connection, which may not be shared between threads.
pub(super) fn store(
    connection: &Connection,
    handshake: &Handshake,
    stream: &Stream,
    mut attachment: Attachment,
) -> impl Future<Output = Result<Option<Attachment>, Moved>> + use<> {
    let open = stream.link.place().map(|place| {
        let began_ms = unix_ms().saturating_sub(millis(stream.pace.lasted()));
        OpenStream::of(connection.session(), handshake, place, began_ms)
    });
    async move {
        let Some(open) = open else {
            return Ok(Some(attachment));
        };
        let session_id = open.session_id.clone();
        match attachment.store(open).await {
            Ok(()) => Ok(Some(attachment)),
            Err(NotStored::Failed(StoreError::Taken)) => Err(Moved),
            Err(error) => {
                tracing::warn!(
                    session_id, %error,
                    "the stream is not stored: its client cannot resume it"
                );
                Ok(None)
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn owner(connection: &Connection, route: &Route, handshake: &Handshake) -> Owner {
    Owner::of(&connection.session().facts, &route.identified_by, handshake)
}

/// State of a stream that has left its connection.
#[allow(
    clippy::large_enum_variant,
    reason = "what ends is taken apart at once, once in a connection's life"
)]
pub(super) enum Left {
    /// The stream is parked with its claims, and waits for its client. The socket is left.
    Parked(OpenSocket),
    /// The stream ends here.
    Ends(Connection, Stream, Option<Attachment>),
}

/// Parks a stream whose client was lost, with its claims.
pub(super) fn park(
    connection: Connection,
    stream: Stream,
    attachment: Option<Attachment>,
    cause: &Cause,
) -> Left {
    let (Some(grace), true) = (connection.socket.limits.resume_grace, is_lost(cause)) else {
        return Left::Ends(connection, stream, attachment);
    };
    let Some(attachment) = attachment else {
        return Left::Ends(connection, stream, None);
    };
    let Connection {
        claims,
        place,
        shares,
        budget,
        socket,
    } = connection;
    match attachment.park(stream, claims) {
        Ok(parked) => {
            let park_limits = park_limits(&socket.limits, grace, cause);
            let live = Arc::clone(&socket.log.live);
            live.enter(Stage::Parked);
            let running = parked.run(park_limits, socket.gateway.shutdown.clone());
            socket.gateway.tasks.spawn(watched(async move {
                running.await;
                // Operators see it until it has ended, or goes on over another connection.
                drop(live);
            }));
            Left::Parked(socket)
        }
        Err((stream, claims)) => {
            let connection = Connection {
                claims,
                place,
                shares,
                budget,
                socket,
            };
            Left::Ends(connection, stream, None)
        }
    }
}

/// Limits of a stream whose connection ended for this cause.
pub(crate) fn park_limits(limits: &Limits, grace: Duration, cause: &Cause) -> ParkLimits {
    ParkLimits {
        grace,
        max_said: limits.max_outbound,
        ending: StreamEnd::Cut(close_message::for_upstream(cause)),
        sealing: limits.write_timeout,
    }
}

/// Whether the connection was lost, so that the client may want to resume.
fn is_lost(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Eof
            | Cause::Gone(_)
            | Cause::Idle
            | Cause::Stalled
            | Cause::Resumed
            // The transport ended in the middle of a message.
            | Cause::Violation(Violation::Unfinished)
    )
}

/// Remembers that a stream is complete, for a client that may not have been told so.
pub(super) fn remember(gateway: &Gateway, limits: &Limits, remembered: Remembered) {
    let grace = limits.resume_grace.unwrap_or_default();
    let staying = remembered.stay(grace, gateway.shutdown.clone());
    gateway.tasks.spawn(staying);
}
