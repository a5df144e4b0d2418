//! How much of a stream is safe, and when the client is told.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::Promise;

impl Promise {
    /// Whether a client that wants it so is told what the backend has.
    pub(super) fn given(self, wanted: crate::link::Receipts) -> crate::link::Receipts {
        match self {
            Self::None | Self::Recorded => crate::link::Receipts::None,
            Self::Sent | Self::Confirmed => wanted,
        }
    }
}

/// Bytes that become safe before the client is told of them at once.
const AT_ONCE: u64 = 64 * 1024;
/// When it is told of fewer.
const AT_LAST: Duration = Duration::from_millis(500);

/// What a backend has, and what its client knows of that.
pub(super) struct Receipts {
    promise: Promise,
    wanted: crate::link::Receipts,
    kept: u64,
    told: u64,
    due: Option<Pin<Box<Sleep>>>,
}

impl Receipts {
    /// Of a connection that goes on where so many bytes are safe.
    pub(super) fn new(promise: Promise, wanted: crate::link::Receipts, from: u64) -> Self {
        Self {
            promise,
            wanted,
            kept: from,
            told: from,
            due: None,
        }
    }

    /// Whether the client is told anything.
    pub(super) fn given(&self) -> crate::link::Receipts {
        self.promise.given(self.wanted)
    }

    /// How much is safe.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// Whether the backend confirms.
    pub(super) fn are_confirmed(&self) -> bool {
        self.promise == Promise::Confirmed
    }

    /// Everything that was taken has been handed to the kernel.
    pub(super) fn sent(&mut self, cx: &mut Context<'_>, taken: u64) {
        if self.promise == Promise::Sent && taken > self.kept {
            self.keep(taken);
            let is_due = |due: &mut Pin<Box<Sleep>>| due.as_mut().poll(cx).is_ready();
            let overdue = self.due.as_mut().is_some_and(is_due);
            // Events were asked for before this became safe.
            if overdue || (self.due.is_some() && self.kept - self.told >= AT_ONCE) {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// The backend has confirmed `bytes`, of `taken`: more than it was given is
    /// nothing that it could have.
    pub(super) fn confirmed(&mut self, bytes: u64, taken: u64) {
        let bytes = bytes.min(taken);
        if bytes > self.kept {
            self.keep(bytes);
        }
    }

    fn keep(&mut self, bytes: u64) {
        self.kept = bytes;
        if self.given() == crate::link::Receipts::Given {
            self.due.get_or_insert_with(|| Box::pin(sleep(AT_LAST)));
        }
    }

    /// What the client is to be told now.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<u64> {
        let Some(due) = &mut self.due else {
            return Poll::Pending;
        };
        if self.kept - self.told < AT_ONCE && due.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.due = None;
        self.told = self.kept;
        Poll::Ready(self.kept)
    }
}
