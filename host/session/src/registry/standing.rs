//! Standing of a claim: whether it holds at all gateways that share claims.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::Holder;

/// Whether a claim holds at all gateways that share claims. Without others every claim does.
#[derive(Debug, Clone)]
pub(super) enum Standing {
    /// It holds.
    Held,
    /// It is not known yet.
    Provisional(Arc<Fate>),
    /// The session's own stream holds the key, perhaps at another gateway. The session takes it over
    /// with the stream.
    Returning,
}

/// What becomes of a provisional claim.
#[derive(Debug, Default)]
pub(super) struct Fate {
    outcome: OnceLock<Outcome>,
    settled: CancellationToken,
}

/// What became of a provisional claim.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// It holds.
    Holds,
    /// It was undone, because of this holder at another gateway if there is one.
    Undone(Option<Holder>),
}

impl Fate {
    /// Settles it. The first outcome stays.
    pub(super) fn settle(&self, outcome: Outcome) {
        let _ = self.outcome.set(outcome);
        self.settled.cancel();
    }

    /// Waits until it is settled.
    pub(super) async fn outcome(&self) -> Outcome {
        loop {
            self.settled.cancelled().await;
            // It is set before the token is cancelled.
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
        }
    }
}

impl Standing {
    /// Of a claim that other gateways have not seen.
    pub(super) fn provisional() -> Self {
        Self::Provisional(Arc::default())
    }

    /// Fate of the claim, if that is open.
    pub(super) fn fate(&self) -> Option<&Arc<Fate>> {
        match self {
            Self::Provisional(fate) => Some(fate),
            Self::Held | Self::Returning => None,
        }
    }
}
