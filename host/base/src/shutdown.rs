//! Stages of the shutdown: draining, then closing the remaining connections. A second signal
//! abandons both.

use tokio_util::sync::CancellationToken;

/// Stage of the shutdown, shared with every connection.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    closing: CancellationToken,
    abandoned: CancellationToken,
}

impl Shutdown {
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

    /// Whether new connections are refused.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until new connections are refused.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Waits until live connections are to be closed.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }
}
