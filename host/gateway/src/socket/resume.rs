//! Resumption of a stream whose client lost its connection.

use super::cause::Cause;
use super::close_message;
use super::connection::Connection;
use crate::parking::{Attachment, Owner, ParkLimits, Remembered, Returning, Stream, Taken};
use crate::watchdog::watched;
use session::handshake::{ACK, Handshake, RESUME};
use upstream::{Ending, Link, Receipts};
use wire::frame::Violation;

/// Takes the stream that the client wants to resume. A connection of another client, or one that
/// comes too late, is refused.
pub(super) async fn take(
    connection: &mut Connection,
    returning: &Returning,
    handshake: &Handshake,
) -> Result<Taken, Cause> {
    let owner = owner(connection, handshake);
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
    handshake: &Handshake,
    link: &dyn Link,
) -> Option<Attachment> {
    let asked = handshake.has(ACK) && handshake.has(RESUME);
    let possible = connection.limits.resume_grace.is_some() && link.receipts() == Receipts::Given;
    let attach = || {
        let owner = owner(connection, handshake);
        let gateway = &connection.gateway;
        gateway.parking.attach(&connection.session, owner)
    };
    (asked && possible).then(attach)
}

fn owner(connection: &Connection, handshake: &Handshake) -> Owner {
    let route = connection.route.as_deref();
    let identified_by = route.map_or(&[][..], |route| &route.identified_by);
    Owner::of(&connection.session.facts, identified_by, handshake)
}

/// State of a stream that has left its connection.
pub(super) enum Left {
    /// The stream is parked, and waits for its client.
    Parked,
    /// The stream ends here.
    Ends(Stream, Option<Attachment>),
}

/// Parks a stream whose client was lost, with its claims.
pub(super) fn park(
    connection: &mut Connection,
    stream: Stream,
    attachment: Option<Attachment>,
    cause: &Cause,
) -> Left {
    let (Some(grace), true) = (connection.limits.resume_grace, is_lost(cause)) else {
        return Left::Ends(stream, attachment);
    };
    let Some(attachment) = attachment else {
        return Left::Ends(stream, None);
    };
    // Taken last, because a stream that is not parked releases its guard after the seal.
    let Some(guard) = connection.guard.take() else {
        return Left::Ends(stream, Some(attachment));
    };
    match attachment.park(stream, guard) {
        Ok(parked) => {
            let park_limits = ParkLimits {
                grace,
                max_said: connection.limits.max_outbound,
                ending: Ending::Cut(close_message::for_upstream(cause)),
                sealing: connection.limits.write_timeout,
            };
            let gateway = &connection.gateway;
            let running = parked.run(park_limits, gateway.shutdown.clone());
            gateway.tasks.spawn(watched(running));
            Left::Parked
        }
        Err((stream, guard)) => {
            connection.guard = Some(guard);
            Left::Ends(stream, None)
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
pub(super) fn remember(connection: &Connection, remembered: Remembered) {
    let gateway = &connection.gateway;
    let grace = connection.limits.resume_grace.unwrap_or_default();
    let staying = remembered.stay(grace, gateway.shutdown.clone());
    gateway.tasks.spawn(staying);
}
