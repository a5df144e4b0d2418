//! Resumption of a stream whose client lost its connection.

use std::sync::Arc;

use super::cause::Cause;
use super::close_message;
use super::connection::Connection;
use super::open_socket::OpenSocket;
use crate::connections::Stage;
use crate::parking::{Attachment, Owner, ParkLimits, Remembered, Returning, Stream, Taken};
use crate::routes::{Gateway, Route};
use crate::watchdog::watched;
use base::limits::Limits;
use session::handshake::{ACK, Handshake, RESUME};
use upstream::{Link, Receipts, StreamEnd};
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
        Some(None) => Err(Cause::ResumeRefused),
        // The stream exists, but its connection has not released it: the client may retry.
        None => Err(Cause::PredecessorStays),
    }
}

/// Attaches the stream to a slot, if its client asked for resumption and it is possible. A client
/// can only send again what was not acknowledged, so resumption needs receipts.
pub(super) fn attach(
    connection: &Connection,
    route: &Route,
    handshake: &Handshake,
    link: &dyn Link,
) -> Option<Attachment> {
    let asked = handshake.has(ACK) && handshake.has(RESUME);
    let possible =
        connection.socket.limits.resume_grace.is_some() && link.receipts() == Receipts::Given;
    let attach = || {
        let owner = owner(connection, route, handshake);
        let gateway = &connection.socket.gateway;
        gateway.parking.attach(connection.session(), owner)
    };
    (asked && possible).then(attach)
}

fn owner(connection: &Connection, route: &Route, handshake: &Handshake) -> Owner {
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
            let park_limits = ParkLimits {
                grace,
                max_said: socket.limits.max_outbound,
                ending: StreamEnd::Cut(close_message::for_upstream(cause)),
                sealing: socket.limits.write_timeout,
            };
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
