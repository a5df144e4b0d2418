//! Link that holds permits for its descriptors until it is closed.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::link::{Downward, Link, Lost, Place, Receipts, Sealed, StreamEnd, Upward};

/// Link with its descriptor permits, until it is sealed or dropped.
pub struct Counted {
    // Declared before the permits, so it closes before they are released.
    link: Box<dyn Link>,
    descriptors: OwnedSemaphorePermit,
}

impl Counted {
    /// Counts the descriptors of a link.
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

    fn place(&self) -> Option<Place> {
        self.link.place()
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

    fn seal(self: Box<Self>, ending: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        let Self { link, descriptors } = *self;
        // Sealing begins at once, as for any other link. Only the rest runs in another task.
        let sealing = link.seal(ending);
        async move {
            let sealed = sealing.await;
            drop(descriptors);
            sealed
        }
        .boxed()
    }
}
