//! The steps on the way out: draining, then closing what is left; or, told
//! twice, neither.

use tokio_util::sync::CancellationToken;

/// Tells every connection how far the shutdown is.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    closing: CancellationToken,
    abandoned: CancellationToken,
}

impl Shutdown {
    /// New connections are refused from now on; live ones may finish.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Live connections are closed from now on.
    pub fn close(&self) {
        self.draining.cancel();
        self.closing.cancel();
    }

    /// Nothing is waited for from now on: the process ends, and what is live ends
    /// with it.
    pub fn abandon(&self) {
        self.abandoned.cancel();
        self.close();
    }

    /// Whether nothing is waited for any more.
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
