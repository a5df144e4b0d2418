//! When the client is told how much of its stream is safe.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::link::Receipts;

/// Number of newly safe bytes after which the client is told at once.
const AT_ONCE: u64 = 64 * 1024;
/// Time after which the client is told of fewer.
const AT_LAST: Duration = Duration::from_millis(500);

/// Bytes that are safe, and bytes that the client was told of.
pub(super) struct Acks {
    wanted: Receipts,
    safe: u64,
    told: u64,
    due: Option<Pin<Box<Sleep>>>,
}

impl Acks {
    /// Acks of a link that begins with this many safe bytes.
    pub(super) fn new(wanted: Receipts, safe: u64) -> Self {
        Self {
            wanted,
            safe,
            told: safe,
            due: None,
        }
    }

    pub(super) fn wanted(&self) -> Receipts {
        self.wanted
    }

    /// Number of safe bytes.
    pub(super) fn safe(&self) -> u64 {
        self.safe
    }

    /// Records that so many bytes are safe.
    pub(super) fn is_safe(&mut self, bytes: u64) {
        self.safe = bytes;
        if self.wanted == Receipts::Given && self.safe > self.told {
            self.due.get_or_insert_with(|| Box::pin(sleep(AT_LAST)));
        }
    }

    /// Number of bytes of the ack that is due now.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<u64> {
        let Some(due) = &mut self.due else {
            return Poll::Pending;
        };
        if self.safe - self.told < AT_ONCE && due.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.due = None;
        self.told = self.safe;
        Poll::Ready(self.safe)
    }
}
