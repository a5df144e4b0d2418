//! Going on with a stream whose client was cut off.

use super::Connection;
use super::cause::Cause;
use super::close;
use crate::handshake::{ACK, Handshake, RESUME};
use crate::parking::{Moored, Owner, Stream};
use crate::upstream::{Ending, Link, Patience, Receipts};

/// Takes the stream that the client came back for. Whoever is not its client,
/// or comes too late, has to start afresh.
pub(super) async fn take(
    connection: &mut Connection,
    handshake: Option<&Handshake>,
) -> Option<Result<Stream, Cause>> {
    let berth = connection.resuming.take()?;
    let Some(handshake) = handshake else {
        return Some(Err(Cause::ResumeRefused));
    };
    let owner = Owner::of(&connection.session.facts, handshake);
    let taken = connection.budget.spend(berth.take(&owner)).await;
    Some(taken.flatten().ok_or(Cause::ResumeRefused))
}

/// Gives the stream a berth, where its client asked for one and its upstream
/// can wait. What is not acknowledged cannot be sent again, so resuming comes
/// with receipts only.
pub(super) fn moor(
    connection: &Connection,
    handshake: &Handshake,
    link: &dyn Link,
) -> Option<Moored> {
    let asked = handshake.has(ACK) && handshake.has(RESUME);
    let possible = connection.limits.resume_grace.is_some()
        && link.receipts() == Receipts::Given
        && link.patience() == Patience::Waits;
    let owner = || Owner::of(&connection.session.facts, handshake);
    let moor = || {
        connection
            .gateway
            .parking
            .moor(&connection.session, owner())
    };
    (asked && possible).then(moor)
}

/// Parks a stream whose client was lost, with its claims. Gives back the link
/// of one that has to end here.
pub(super) fn park(
    connection: &mut Connection,
    moored: Option<Moored>,
    link: Box<dyn Link>,
    cause: &Cause,
    bytes: u64,
) -> Option<Box<dyn Link>> {
    let lost = matches!(
        cause,
        Cause::Eof | Cause::Gone(_) | Cause::Idle | Cause::Stalled | Cause::Resumed
    );
    let (Some(moored), Some(grace), true) = (moored, connection.limits.resume_grace, lost) else {
        return Some(link);
    };
    let Some(guard) = connection.guard.take() else {
        return Some(link);
    };
    match moored.park(link, guard, bytes) {
        Ok(waiting) => {
            let ending = Ending::Cut(close::farewell(cause));
            let gateway = &connection.gateway;
            let sealing = connection.limits.write_timeout;
            let out = waiting.out(grace, ending, sealing, gateway.shutdown.clone());
            gateway.tasks.spawn(out);
            None
        }
        Err((link, guard)) => {
            connection.guard = Some(guard);
            Some(link)
        }
    }
}
