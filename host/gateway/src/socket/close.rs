//! Close stage: sends the error frame and the Close, and makes sure that they arrive.
//!
//! This is the only place that writes a Close frame. [`CloseMessage::of`] decides what it says.
//!
//! If a socket is closed with unread input, the kernel sends RST, which destroys what the client
//! has not read yet. So the gateway keeps reading and discards what it reads, until the client has
//! closed or the time for that is over.

use super::cause::Cause;
use super::close_message::CloseMessage;
use super::connection::{Connection, Refused};
use super::linger::{self, Delivery, Heard, Peer};
use super::reap::{last, tell};
use super::resume;
use super::stream::Finished;
use crate::parking::Remembered;

/// Closes a connection that was refused or cut short.
pub async fn refuse(refused: Refused) {
    let Refused { connection, cause } = refused;
    let heard = Heard::of(Peer::Speaking);
    close(connection, cause, heard, None, None).await;
}

/// Closes a connection whose stream is sealed.
pub async fn finish(finished: Finished) {
    let Finished {
        connection,
        cause,
        heard,
        finalized,
        remembered,
    } = finished;
    close(connection, cause, heard, finalized, remembered).await;
}

async fn close(
    mut connection: Box<Connection>,
    cause: Cause,
    heard: Heard,
    finalized: Option<Vec<u8>>,
    remembered: Option<Remembered>,
) {
    connection.release();
    let close_message = CloseMessage::of(&cause);
    let Some(mut wire) = connection.wire.take() else {
        return;
    };
    let mut last = last(&close_message, &connection.session.facts.session_id);
    last.message = finalized.or(last.message);
    // If the cause says something about the client, that is the latest state of the client.
    if last.heard.peer == Peer::Speaking {
        last.heard = heard;
    }
    let delivery = linger::deliver(&mut wire, last, &connection.limits).await;
    // A client that answered the Close has read the message before it.
    if let Some(remembered) = remembered
        && delivery != Delivery::Confirmed
    {
        resume::remember(&connection, remembered);
    }
    connection.log.stage_ended("close");
    // Nothing more is sent to the client. The rest still counts as a connection, so that policy
    // calls for connections that are gone cannot pile up.
    let _counted = wire.close();
    let report = connection.report.take();
    tell(&mut connection.log, report, &close_message, delivery).await;
}
