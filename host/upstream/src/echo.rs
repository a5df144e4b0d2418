//! Upstream that sends every message back.
//!
//! On a route with `handshake = "none"` and no policies, the gateway becomes a WebSocket echo
//! server, for conformance suites and benchmarks.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use futures_util::future::{self, BoxFuture, FutureExt};

use crate::link::{
    Downward, Link, Lost, OpenError, Sealed, StreamEnd, StreamInfo, Upstream, Upward,
};

/// Maximum number of bytes that wait to be sent back; one more message may exceed it.
const MAX_BYTES: usize = 64 * 1024;

/// Maximum number of waiting messages. Empty ones have no bytes, but need memory too.
const MAX_MESSAGES: usize = 256;

/// Sends every message back, in order.
#[derive(Debug, Default, Clone, Copy)]
pub struct Echo;

impl Upstream for Echo {
    fn open(&self, _: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        let link: Box<dyn Link> = Box::new(Mirror::default());
        future::ready(Ok(link)).boxed()
    }
}

#[derive(Default)]
struct Mirror {
    waiting: VecDeque<Downward>,
    waiting_bytes: usize,
    taken: u64,
    sender: Parked,
    receiver: Parked,
}

impl Link for Mirror {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.waiting_bytes < MAX_BYTES && self.waiting.len() < MAX_MESSAGES {
            return Poll::Ready(Ok(()));
        }
        self.sender.park(cx);
        Poll::Pending
    }

    fn start_send(&mut self, message: Upward) {
        let echoed = match message {
            Upward::Binary(bytes) => {
                self.taken += bytes.len() as u64;
                Downward::Binary(bytes)
            }
            Upward::Text(text) => Downward::Text(text),
            Upward::Control(_) => return,
        };
        self.waiting_bytes += size(&echoed);
        self.waiting.push_back(echoed);
        self.receiver.wake();
    }

    fn held(&self) -> usize {
        self.waiting_bytes
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        let Some(message) = self.waiting.pop_front() else {
            self.receiver.park(cx);
            return Poll::Pending;
        };
        self.waiting_bytes -= size(&message);
        self.sender.wake();
        Poll::Ready(Ok(message))
    }

    fn seal(self: Box<Self>, _: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        future::ready(Ok(Sealed { bytes: self.taken })).boxed()
    }
}

fn size(message: &Downward) -> usize {
    match message {
        Downward::Binary(bytes) | Downward::Text(bytes) => bytes.len(),
        // An echo has none of these.
        Downward::Kept(_) | Downward::Upstream(_) | Downward::Close(_) | Downward::TakenOver => 0,
    }
}

/// Task that waits for this link.
///
/// The waker is reused: nearly always the same task waits again, and cloning the waker for each
/// message would cost more than the echo.
#[derive(Default)]
enum Parked {
    #[default]
    Never,
    Waiting(Waker),
    Woken(Waker),
}

impl Parked {
    fn park(&mut self, cx: &Context<'_>) {
        *self = match std::mem::take(self) {
            Self::Waiting(waker) | Self::Woken(waker) if waker.will_wake(cx.waker()) => {
                Self::Waiting(waker)
            }
            _ => Self::Waiting(cx.waker().clone()),
        };
    }

    fn wake(&mut self) {
        if let Self::Waiting(waker) = std::mem::take(self) {
            waker.wake_by_ref();
            *self = Self::Woken(waker);
        }
    }
}

#[cfg(test)]
mod tests;
