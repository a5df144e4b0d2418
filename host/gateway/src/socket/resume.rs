//! Going on with a stream whose client was cut off.

use super::cause::Cause;
use super::close_message;
use super::connection::Connection;
use crate::parking::{Moored, Owner, Patience, Remembered, Returning, Stream, Taken};
use crate::watchdog::watched;
use session::handshake::{ACK, Handshake, RESUME};
use upstream::{Ending, Link, Receipts};
use wire::frame::Violation;

/// Takes the stream that the client came back for. Whoever is not its client,
/// or comes too late, has to start afresh.
pub(super) async fn take(
    connection: &mut Connection,
    returning: &Returning,
    handshake: &Handshake,
) -> Result<Taken, Cause> {
    let owner = owner(connection, handshake);
    match connection.budget.spend(returning.take(&owner)).await {
        Some(Some(taken)) => Ok(taken),
        Some(None) => Err(Cause::ResumeRefused),
        // It is there, and still busy: its client may try again.
        None => Err(Cause::PredecessorStays),
    }
}

/// Gives the stream a berth, where its client asked for one. What is not
/// acknowledged cannot be sent again, so resuming comes with receipts only.
pub(super) fn moor(
    connection: &Connection,
    handshake: &Handshake,
    link: &dyn Link,
) -> Option<Moored> {
    let asked = handshake.has(ACK) && handshake.has(RESUME);
    let possible = connection.limits.resume_grace.is_some() && link.receipts() == Receipts::Given;
    let moor = || {
        let owner = owner(connection, handshake);
        let gateway = &connection.gateway;
        gateway.parking.moor(&connection.session, owner)
    };
    (asked && possible).then(moor)
}

fn owner(connection: &Connection, handshake: &Handshake) -> Owner {
    let route = connection.route.as_deref();
    let identified_by = route.map_or(&[][..], |route| &route.identified_by);
    Owner::of(&connection.session.facts, identified_by, handshake)
}

/// What becomes of a stream that has left its connection.
pub(super) enum Left {
    /// It waits for its client.
    Parked,
    /// It ends here.
    Ends(Stream, Option<Moored>),
}

/// Parks a stream whose client was lost, with its claims.
pub(super) fn park(
    connection: &mut Connection,
    stream: Stream,
    moored: Option<Moored>,
    cause: &Cause,
) -> Left {
    let (Some(grace), true) = (connection.limits.resume_grace, is_lost(cause)) else {
        return Left::Ends(stream, moored);
    };
    let Some(moored) = moored else {
        return Left::Ends(stream, None);
    };
    // Only now: where it is not parked, it is released after the seal.
    let Some(guard) = connection.guard.take() else {
        return Left::Ends(stream, Some(moored));
    };
    match moored.park(stream, guard) {
        Ok(waiting) => {
            let patience = Patience {
                grace,
                max_said: connection.limits.max_outbound,
                ending: Ending::Cut(close_message::for_upstream(cause)),
                sealing: connection.limits.write_timeout,
            };
            let gateway = &connection.gateway;
            let out = waiting.out(patience, gateway.shutdown.clone());
            gateway.tasks.spawn(watched(out));
            Left::Parked
        }
        Err((stream, guard)) => {
            connection.guard = Some(guard);
            Left::Ends(stream, None)
        }
    }
}

/// Whether a client that is still there would have gone on.
fn is_lost(cause: &Cause) -> bool {
    matches!(
        cause,
        Cause::Eof
            | Cause::Gone(_)
            | Cause::Idle
            | Cause::Stalled
            | Cause::Resumed
            // It went in the middle of a message.
            | Cause::Violation(Violation::Unfinished)
    )
}

/// Keeps the answer to a finalize for a client that may not have got it.
pub(super) fn remember(connection: &Connection, remembered: Remembered) {
    let gateway = &connection.gateway;
    let grace = connection.limits.resume_grace.unwrap_or_default();
    let staying = remembered.stay(grace, gateway.shutdown.clone());
    gateway.tasks.spawn(staying);
}
