//! Stages of the shutdown: draining, then closing the remaining connections. A second signal
//! abandons both. Before all of them, an operator may drain the gateway, and take that back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// Stage of the shutdown, shared with every connection.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    handing_over: CancellationToken,
    draining: CancellationToken,
    closing: CancellationToken,
    abandoned: CancellationToken,
    /// Whether an operator has drained it.
    drained: Arc<AtomicBool>,
}

/// What an operator wants of newcomers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newcomers {
    /// They are taken.
    Taken,
    /// They are refused, while live streams go on and clients that were cut off come back.
    Refused,
}

impl Shutdown {
    /// Begins to hand over to another process: nothing is accepted any more, and streams that can go
    /// on there leave. All others go on here.
    pub fn hand_over(&self) {
        self.handing_over.cancel();
    }

    /// Waits until another process takes over.
    pub async fn handed_over(&self) {
        self.handing_over.cancelled().await;
    }

    /// Waits until another process takes over, or the shutdown begins. Streams that wait for their
    /// clients are left to the next process in both cases.
    pub async fn leaving(&self) {
        tokio::select! {
            () = self.handing_over.cancelled() => {}
            () = self.draining.cancelled() => {}
        }
    }

    /// Begins to drain: new connections are refused, live ones may finish.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Begins to close live connections.
    pub fn close(&self) {
        self.draining.cancel();
        self.closing.cancel();
    }

    /// Abandons the graceful shutdown: the process ends at once, and live connections with it.
    pub fn abandon(&self) {
        self.abandoned.cancel();
        self.close();
    }

    /// Whether the graceful shutdown is abandoned.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.is_cancelled()
    }

    /// Refuses newcomers at an operator's word, or takes them again.
    pub fn operate(&self, newcomers: Newcomers) {
        self.drained
            .store(newcomers == Newcomers::Refused, Ordering::Relaxed);
    }

    /// Whether newcomers are refused, because of the shutdown or of an operator.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_stopping() || self.drained.load(Ordering::Relaxed)
    }

    /// Whether the shutdown has begun. Clients that were cut off cannot come back either.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Whether streams are left to the next process: another one takes over, or the shutdown has
    /// begun.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.handing_over.is_cancelled() || self.is_stopping()
    }

    /// Waits until the shutdown begins.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Waits until live connections are to be closed.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }
}
