//! Close: the last words to a client, and making sure that they arrive.
//!
//! This is the only place that writes a Close frame. What it says is decided by
//! [`Words::of`].
//!
//! A socket that is closed with unread input makes the kernel send RST, which
//! destroys what the client has not read yet. So the host goes on reading, and
//! throws away what it reads, until the client has had its chance.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;

use super::cause::Cause;
use super::report::Report;
use super::story::{Ending, Story};
use super::stream::Finished;
use super::wire::Wire;
use super::{Connection, Refused, resume};
use crate::parking::Remembered;
use base::limits::Limits;
use base::text;
use policy::ending as policy;

mod linger;
mod words;

pub use linger::Delivery;
use linger::Last;
pub(super) use linger::{Heard, Peer};
pub(super) use words::farewell;
pub use words::{KINDS, Words};

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

/// Tells everybody who wants to know how a connection ended: first the
/// policies, as it is part of the story what they did about it.
async fn tell(story: &mut Story, report: Option<Report>, words: &Words, delivery: Delivery) {
    if let Some(report) = report {
        let told = report.send(ending(words, story)).await;
        story.decided(told);
    }
    story.tell(&Ending {
        cause: words.name,
        close_code: words.close_code(),
        closed_by: words.closed_by,
        detail: &text::clean(&words.detail, 2048),
        delivery,
    });
}

fn ending(words: &Words, story: &Story) -> policy::Ending {
    policy::Ending {
        cause: words.name.into(),
        close_code: words.close_code(),
        closed_by: words.closed_by.into(),
        streamed: story.streamed,
        lasted: story.lasted(),
        received_bytes: story.bytes_up,
        sent_bytes: story.bytes_down,
    }
}

/// Closes the socket of a connection that was dropped by mistake, and tells its
/// story as of any other. Called from a `Drop`, so the work goes to a task of
/// its own.
pub(super) fn reap(mut wire: Wire, connection: &mut Connection) {
    let session_id = Arc::clone(&connection.session.facts.session_id);
    let limits = Arc::clone(&connection.limits);
    let span = tracing::Span::current();
    span.in_scope(|| {
        tracing::error!(
            session_id = &*session_id,
            "a connection was dropped without being closed"
        )
    });
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    let words = Words::of(&Cause::Internal);
    let report = connection.report.take();
    let live = connection.live.take();
    let mut story = connection.story.take();
    story.stage_ended("dropped");
    let closing = async move {
        let last = last(&words, &session_id);
        let delivery = linger::deliver(&mut wire, last, &limits).await;
        story.stage_ended("close");
        let _counted = wire.close();
        tell(&mut story, report, &words, delivery).await;
        drop(live);
    };
    let closing = closing.instrument(span);
    connection.gateway.tasks.spawn_on(closing, &runtime);
}

fn last(words: &Words, session_id: &str) -> Last {
    Last {
        message: words.error_frame(session_id),
        code: words.close_code(),
        reason: words.reason(),
        heard: Heard::of(words.peer),
    }
}

/// What each has the bound of a write when a connection ends: completing what
/// its upstream has, sealing it, and writing the last message and the Close.
const WRITES: u32 = 4;

/// How long a connection may take to end once it is told to, but for the
/// policies that are told of it.
#[must_use]
pub fn longest(limits: &Limits) -> Duration {
    limits.write_timeout * WRITES + limits.settle + limits.close_timeout
}

/// A point in time that a bound gives.
fn within(bound: Duration) -> Instant {
    Instant::now() + bound
}
