//! The part of a connection that lasts until its socket is closed.

use std::sync::Arc;

use base::limits::Limits;
use base::metrics::Live;
use base::text;
use scopeguard::ScopeGuard;
use session::registry::Session;
use tracing::Instrument as _;

use super::cause::Cause;
use super::close_message::CloseMessage;
use super::connection_log::{ConnectionEnd, ConnectionLog};
use super::linger::{self, Delivery, Heard, Last, Peer};
use super::refused::refusal;
use super::report::Report;
use super::wire::Wire;
use crate::connections::Stage;
use crate::routes::Gateway;

/// Guard of an open socket. If it is dropped, by a panic or a mistake, a task of its own closes the
/// socket. The close stage takes [`Parts`] out of it.
pub(super) type OpenSocket = ScopeGuard<Box<Parts>, fn(Box<Parts>)>;

/// An open socket, and everything that its close needs.
pub(super) struct Parts {
    pub(super) wire: Wire,
    pub(super) session: Arc<Session>,
    pub(super) limits: Arc<Limits>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) log: ConnectionLog,
    /// Report to the route's policies, once one of them was asked.
    pub(super) report: Option<Report>,
    /// Counts the connection among the live ones.
    pub(super) live: Live,
}

impl Parts {
    /// Guards them until the close stage.
    pub(super) fn guarded(self: Box<Self>) -> OpenSocket {
        scopeguard::guard(self, reap)
    }

    /// Sends the last messages, and waits until the client has them. `finalized` takes the place of
    /// an error frame.
    pub(super) async fn deliver(
        &mut self,
        close_message: &CloseMessage,
        heard: Heard,
        finalized: Option<Vec<u8>>,
    ) -> Delivery {
        let says = Heard::of(close_message.peer);
        let error_frame = || close_message.error_frame(&self.session.facts.session_id);
        let last = Last {
            message: finalized.or_else(error_frame),
            code: close_message.close_code(),
            reason: close_message.reason(),
            // If the cause says something about the client, that is its latest state.
            heard: if says.peer == Peer::Speaking {
                heard
            } else {
                says
            },
        };
        linger::deliver(&mut self.wire, last, &self.limits).await
    }

    /// Closes the descriptor, and reports how the connection ended: first to the policies, because
    /// their answers belong in the log entry, then to the log.
    pub(super) async fn finish(mut self, close_message: &CloseMessage, delivery: Delivery) {
        self.log.stage_ended(Stage::Close);
        // The rest still counts as a connection, so that policy calls for connections that are gone
        // cannot pile up.
        let _counted = self.wire.close();
        if let Some(report) = self.report {
            let told = report.send(ending(close_message, &self.log)).await;
            self.log.decided(told);
        }
        self.log.write(&ConnectionEnd {
            cause: close_message.name,
            close_code: close_message.close_code(),
            closed_by: close_message.closed_by,
            told: close_message.sentence(),
            detail: &text::clean(&close_message.detail, 2048),
            delivery,
            refused: close_message.error_code().is_some(),
        });
        if let Some(refusal) = refusal(&self.log, close_message, delivery) {
            self.gateway.refusals.add(refusal);
        }
        drop(self.live);
    }
}

fn ending(close_message: &CloseMessage, log: &ConnectionLog) -> policy::Ending {
    policy::Ending {
        cause: close_message.name.into(),
        close_code: close_message.close_code(),
        closed_by: close_message.closed_by,
        streamed: log.streamed,
        lasted: log.lasted(),
        received_bytes: log.live.received(),
        sent_bytes: log.live.sent(),
    }
}

/// Closes a socket that was dropped by mistake. Called from a `Drop`, so the work goes to a task of
/// its own.
fn reap(mut parts: Box<Parts>) {
    // A process that is told twice to stop closes nothing, and that is no mistake.
    if parts.gateway.shutdown.is_abandoned() {
        return;
    }
    parts.gateway.defects.connection_dropped();
    let span = tracing::Span::current();
    span.in_scope(|| {
        tracing::error!(
            session_id = &*parts.session.facts.session_id,
            "a connection was dropped without being closed"
        )
    });
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    let tasks = parts.gateway.tasks.clone();
    let closing = async move {
        parts.log.live.enter(Stage::Close);
        let close_message = CloseMessage::of(&Cause::Internal);
        let heard = Heard::of(Peer::Speaking);
        let delivery = parts.deliver(&close_message, heard, None).await;
        parts.finish(&close_message, delivery).await;
    };
    tasks.spawn_on(closing.instrument(span), &runtime);
}
