//! Report of a connection's end to its policies and the log, and the close of a connection that was
//! dropped by mistake.

use std::sync::Arc;

use base::limits::Limits;
use base::metrics::Live;
use base::text;
use policy::ending as policy;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::cause::Cause;
use super::close_message::CloseMessage;
use super::connection_log::{ConnectionLog, Ending};
use super::linger::{self, Delivery, Heard, Last};
use super::report::Report;
use super::wire::Wire;

/// Parts of a dropped connection that are needed to close it.
pub(super) struct Remains {
    pub(super) session_id: Arc<str>,
    pub(super) limits: Arc<Limits>,
    /// Tasks that a shutdown waits for.
    pub(super) tasks: TaskTracker,
    pub(super) log: ConnectionLog,
    pub(super) report: Option<Report>,
    /// Counts the connection among the live ones.
    pub(super) live: Option<Live>,
}

/// Reports how a connection ended: first to the policies, because their answers belong in the log
/// entry, then to the log.
pub(super) async fn tell(
    log: &mut ConnectionLog,
    report: Option<Report>,
    close_message: &CloseMessage,
    delivery: Delivery,
) {
    if let Some(report) = report {
        let told = report.send(ending(close_message, log)).await;
        log.decided(told);
    }
    log.write(&Ending {
        cause: close_message.name,
        close_code: close_message.close_code(),
        closed_by: close_message.closed_by,
        detail: &text::clean(&close_message.detail, 2048),
        delivery,
    });
}

fn ending(close_message: &CloseMessage, log: &ConnectionLog) -> policy::Ending {
    policy::Ending {
        cause: close_message.name.into(),
        close_code: close_message.close_code(),
        closed_by: close_message.closed_by,
        streamed: log.streamed,
        lasted: log.lasted(),
        received_bytes: log.bytes_up,
        sent_bytes: log.bytes_down,
    }
}

/// Closes the socket of a connection that was dropped by mistake, and writes its log entry. Called
/// from a `Drop`, so the work goes to a task of its own.
pub(super) fn reap(mut wire: Wire, remains: Remains) {
    let Remains {
        session_id,
        limits,
        tasks,
        mut log,
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
    log.stage_ended("dropped");
    let closing = async move {
        let last = last(&close_message, &session_id);
        let delivery = linger::deliver(&mut wire, last, &limits).await;
        log.stage_ended("close");
        let _counted = wire.close();
        tell(&mut log, report, &close_message, delivery).await;
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
