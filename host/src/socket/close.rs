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

use super::cause::Cause;
use super::story::{Ending, Story};
use super::stream::Finished;
use super::{Connection, Refused};
use crate::config::Limits;
use crate::metrics;
use crate::policy::ending as policy;
use crate::text;

mod linger;
mod words;

pub use linger::Delivery;
use linger::Last;
pub use words::Words;
pub(super) use words::farewell;

/// Closes a connection that was refused or cut short.
pub async fn refuse(refused: Refused) {
    let Refused { connection, cause } = refused;
    close(connection, cause, None).await;
}

/// Closes a connection whose stream is sealed.
pub async fn finish(finished: Finished) {
    let Finished {
        connection,
        cause,
        finalized,
    } = finished;
    close(connection, cause, finalized).await;
}

async fn close(mut connection: Box<Connection>, cause: Cause, finalized: Option<Vec<u8>>) {
    connection.release();
    let words = Words::of(&cause);
    let Some(mut wire) = connection.wire.take() else {
        return;
    };
    let mut last = last(&words, &connection.session.facts.session_id);
    last.message = finalized.or(last.message);
    let delivery = linger::deliver(&mut wire, last, &connection.limits).await;
    connection.story.stage_ended("close");
    // The client is done with; what is left still counts as a connection, so
    // that calls cannot pile up behind those that are gone.
    let _counted = wire.close();
    if let Some(report) = connection.report.take() {
        let ending = ending(&words, &connection.story);
        let told = report.send(ending).await;
        connection.story.decided(told);
    }
    connection.story.tell(&Ending {
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

/// Closes the socket of a connection that was dropped by mistake. Called from
/// a `Drop`, so the work goes to a task of its own.
pub(super) fn reap(mut wire: super::Wire, connection: &mut Connection) {
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
    let ending = ending(&words, &connection.story);
    let closing = async move {
        let last = last(&words, &session_id);
        linger::deliver(&mut wire, last, &limits).await;
        let _counted = wire.close();
        if let Some(report) = report {
            let told = report.send(ending).await;
            told.iter().for_each(metrics::decided);
        }
    };
    connection.gateway.tasks.spawn_on(closing, &runtime);
}

fn last(words: &Words, session_id: &str) -> Last {
    Last {
        message: words.error_frame(session_id),
        code: words.close_code(),
        reason: words.reason(),
        peer: words.peer,
    }
}

/// How long a connection may take to be closed, from its last words to the end
/// of its socket.
#[must_use]
pub fn longest(limits: &Limits) -> Duration {
    limits.settle + limits.write_timeout + limits.close_timeout
}

/// A point in time that a bound gives.
fn within(bound: Duration) -> Instant {
    Instant::now() + bound
}
