//! Acknowledgements: how much of a stream is safe, and when the client is told.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::Promise;
use crate::link::Receipts;

impl Promise {
    /// Whether a client that asks for acks gets them.
    pub(super) fn given(self, wanted: Receipts) -> Receipts {
        match self {
            Self::None | Self::Recorded => Receipts::None,
            Self::Sent | Self::Confirmed => wanted,
        }
    }
}

/// Number of newly safe bytes after which the client is told at once.
const AT_ONCE: u64 = 64 * 1024;
/// Time after which the client is told of fewer.
const AT_LAST: Duration = Duration::from_millis(500);

/// Bytes that are safe with the backend, and bytes that the client was told of.
pub(super) struct Acknowledgements {
    promise: Promise,
    wanted: Receipts,
    kept: u64,
    told: u64,
    due: Option<Pin<Box<Sleep>>>,
}

impl Acknowledgements {
    /// Acknowledgements of a connection that begins with this many safe bytes.
    pub(super) fn new(promise: Promise, wanted: Receipts, from: u64) -> Self {
        Self {
            promise,
            wanted,
            kept: from,
            told: from,
            due: None,
        }
    }

    /// Whether the client gets acks.
    pub(super) fn given(&self) -> Receipts {
        self.promise.given(self.wanted)
    }

    /// Number of safe bytes.
    pub(super) fn kept(&self) -> u64 {
        self.kept
    }

    /// Whether the backend confirms bytes.
    pub(super) fn are_confirmed(&self) -> bool {
        self.promise == Promise::Confirmed
    }

    /// Records that the kernel accepted everything up to `taken`.
    pub(super) fn sent(&mut self, cx: &mut Context<'_>, taken: u64) {
        if self.promise == Promise::Sent && taken > self.kept {
            self.keep(taken);
            let is_due = |due: &mut Pin<Box<Sleep>>| due.as_mut().poll(cx).is_ready();
            let overdue = self.due.as_mut().is_some_and(is_due);
            // The task polled for events before this became safe.
            if overdue || (self.due.is_some() && self.kept - self.told >= AT_ONCE) {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Records that the backend has confirmed `bytes`. At most `taken` of them count, because more
    /// was not sent.
    pub(super) fn confirmed(&mut self, bytes: u64, taken: u64) {
        let bytes = bytes.min(taken);
        if bytes > self.kept {
            self.keep(bytes);
        }
    }

    fn keep(&mut self, bytes: u64) {
        self.kept = bytes;
        if self.given() == Receipts::Given {
            self.due.get_or_insert_with(|| Box::pin(sleep(AT_LAST)));
        }
    }

    /// Number of bytes of the ack that is due now.
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
