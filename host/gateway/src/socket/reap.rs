//! The end of a connection, told to whoever wants to know; and of one that was dropped by mistake.

use std::sync::Arc;

use base::limits::Limits;
use base::metrics::Live;
use base::text;
use policy::ending as policy;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::cause::Cause;
use super::close_message::CloseMessage;
use super::linger::{self, Delivery, Heard, Last};
use super::report::Report;
use super::story::{Ending, Story};
use super::wire::Wire;

/// What a connection that was dropped leaves behind.
pub(super) struct Remains {
    pub(super) session_id: Arc<str>,
    pub(super) limits: Arc<Limits>,
    /// Tasks that a shutdown waits for.
    pub(super) tasks: TaskTracker,
    pub(super) story: Story,
    pub(super) report: Option<Report>,
    /// Counts it among the live ones.
    pub(super) live: Option<Live>,
}

/// Tells everybody who wants to know how a connection ended: first the
/// policies, as it is part of the story what they did about it.
pub(super) async fn tell(
    story: &mut Story,
    report: Option<Report>,
    close_message: &CloseMessage,
    delivery: Delivery,
) {
    if let Some(report) = report {
        let told = report.send(ending(close_message, story)).await;
        story.decided(told);
    }
    story.tell(&Ending {
        cause: close_message.name,
        close_code: close_message.close_code(),
        closed_by: close_message.closed_by,
        detail: &text::clean(&close_message.detail, 2048),
        delivery,
    });
}

fn ending(close_message: &CloseMessage, story: &Story) -> policy::Ending {
    policy::Ending {
        cause: close_message.name.into(),
        close_code: close_message.close_code(),
        closed_by: close_message.closed_by,
        streamed: story.streamed,
        lasted: story.lasted(),
        received_bytes: story.bytes_up,
        sent_bytes: story.bytes_down,
    }
}

/// Closes the socket of a connection that was dropped by mistake, and tells its
/// story as of any other. Called from a `Drop`, so the work goes to a task of
/// its own.
pub(super) fn reap(mut wire: Wire, remains: Remains) {
    let Remains {
        session_id,
        limits,
        tasks,
        mut story,
        report,
        live,
    } = remains;
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
    let close_message = CloseMessage::of(&Cause::Internal);
    story.stage_ended("dropped");
    let closing = async move {
        let last = last(&close_message, &session_id);
        let delivery = linger::deliver(&mut wire, last, &limits).await;
        story.stage_ended("close");
        let _counted = wire.close();
        tell(&mut story, report, &close_message, delivery).await;
        drop(live);
    };
    let closing = closing.instrument(span);
    tasks.spawn_on(closing, &runtime);
}

pub(super) fn last(close_message: &CloseMessage, session_id: &str) -> Last {
    Last {
        message: close_message.error_frame(session_id),
        code: close_message.close_code(),
        reason: close_message.reason(),
        heard: Heard::of(close_message.peer),
    }
}
