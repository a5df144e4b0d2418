//! A link with the descriptors that it may have open, for as long as it is open.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::link::{Downward, Ending, Link, Lost, Receipts, Sealed, Upward};

/// A link, parked or not, until it is sealed or dropped.
pub struct Counted {
    // Before its descriptors, so that these are free when others may have them.
    link: Box<dyn Link>,
    descriptors: OwnedSemaphorePermit,
}

impl Counted {
    /// Counts a link's descriptors.
    #[must_use]
    pub fn new(link: Box<dyn Link>, descriptors: OwnedSemaphorePermit) -> Self {
        Self { link, descriptors }
    }
}

impl Link for Counted {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.link.poll_ready(cx)
    }

    fn start_send(&mut self, message: Upward) {
        self.link.start_send(message);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.link.poll_flush(cx)
    }

    fn held(&self) -> usize {
        self.link.held()
    }

    fn last_progress(&self) -> Option<Instant> {
        self.link.last_progress()
    }

    fn receipts(&self) -> Receipts {
        self.link.receipts()
    }

    fn outage(&self) -> Duration {
        self.link.outage()
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        self.link.poll_event(cx)
    }

    fn poll_complete(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.link.poll_complete(cx)
    }

    fn seal(self: Box<Self>, ending: Ending) -> BoxFuture<'static, Result<Sealed, Lost>> {
        let Self { link, descriptors } = *self;
        // It begins at once, as of any other link: only the rest is somebody else's task.
        let sealing = link.seal(ending);
        async move {
            let sealed = sealing.await;
            drop(descriptors);
            sealed
        }
        .boxed()
    }
}
