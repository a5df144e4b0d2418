//! Close: the last words to a client, and making sure that they arrive.
//!
//! This is the only place that writes a Close frame. What it says is decided by
//! [`Words::of`].
//!
//! A socket that is closed with unread input makes the kernel send RST, which
//! destroys what the client has not read yet. So the host goes on reading, and
//! throws away what it reads, until the client has had its chance.

use super::cause::Cause;
use super::connection::{Connection, Refused};
use super::linger::{self, Delivery, Heard, Peer};
use super::reap::{last, tell};
use super::resume;
use super::stream::Finished;
use super::words::Words;
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
    let words = Words::of(&cause);
    let Some(mut wire) = connection.wire.take() else {
        return;
    };
    let mut last = last(&words, &connection.session.facts.session_id);
    last.message = finalized.or(last.message);
    // What the cause says of the client is the latest news of it, where it says anything.
    if last.heard.peer == Peer::Speaking {
        last.heard = heard;
    }
    let delivery = linger::deliver(&mut wire, last, &connection.limits).await;
    // Who answered the Close has read what was before it.
    if let Some(remembered) = remembered
        && delivery != Delivery::Confirmed
    {
        resume::remember(&connection, remembered);
    }
    connection.story.stage_ended("close");
    // The client is done with; what is left still counts as a connection, so
    // that calls cannot pile up behind those that are gone.
    let _counted = wire.close();
    let report = connection.report.take();
    tell(&mut connection.story, report, &words, delivery).await;
}
