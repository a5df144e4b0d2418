//! Tee: a stream that is relayed and recorded.
//!
//! Both halves get every message, and the slower one provides the backpressure. If one half fails
//! for good, the gateway counts and logs it, and continues with the other one. The stream ends
//! instead if the configuration says so for a lost backend, or if the client was promised that
//! acknowledged audio is recorded. A stream that was recorded and not delivered ends with 4006,
//! never as a success.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::anyhow;
use futures_util::future::{BoxFuture, FutureExt, OptionFuture};
use tokio::time::Instant;

use super::{OnLoss, Promise, WebSocket};
use crate::destination::{Destination, Presence};
use crate::link::{Downward, Link, Lost, Receipts, Sealed, StreamEnd, Upward};
use base::metrics::{self, TeeHalf};

#[cfg(test)]
mod tests;

/// Link of a stream that is relayed and recorded.
pub(super) struct Tee {
    upstream: Arc<str>,
    /// `None` after the recording failed.
    recording: Option<Box<dyn Link>>,
    without_recording: WithoutHalf,
    /// `None` after the relay failed.
    relay: Option<Box<dyn Link>>,
    without_relay: WithoutHalf,
    /// Promise of an ack, which decides whose acks count.
    promise: Promise,
    /// State of the backend that the client was last told.
    believed: Presence,
    /// Number of bytes of BINARY payload that were taken.
    taken: u64,
    destination: Arc<Destination>,
}

/// Effect of a failed half on the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WithoutHalf {
    /// The stream ends.
    Ends,
    /// The stream continues with the other half.
    GoesOn,
}

impl Tee {
    /// `recording` is `None` if it could not be opened.
    pub(super) fn new(
        upstream: &Arc<str>,
        recording: Option<Box<dyn Link>>,
        relay: Box<dyn Link>,
        backend: &WebSocket,
        destination: Arc<Destination>,
    ) -> Self {
        let given = recording
            .as_ref()
            .map_or(Receipts::None, |recording| recording.receipts());
        Self {
            upstream: Arc::clone(upstream),
            recording,
            without_recording: match (backend.receipts, given) {
                (Promise::Recorded, Receipts::Given) => WithoutHalf::Ends,
                _ => WithoutHalf::GoesOn,
            },
            relay: Some(relay),
            without_relay: match backend.on_loss {
                OnLoss::Fail => WithoutHalf::Ends,
                OnLoss::Hold(_) => WithoutHalf::GoesOn,
            },
            promise: backend.receipts,
            believed: Presence::Here,
            taken: 0,
            destination,
        }
    }

    /// Polls a half. A failed half returns the value that does not hold up the other.
    fn ask<T>(
        &mut self,
        half: TeeHalf,
        idle: T,
        ask: impl FnOnce(&mut dyn Link) -> Poll<Result<T, Lost>>,
    ) -> Poll<Result<T, Lost>> {
        let link = match half {
            TeeHalf::Recording => &mut self.recording,
            TeeHalf::Backend => &mut self.relay,
        };
        let Some(link) = link else {
            return Poll::Ready(Ok(idle));
        };
        match ready!(ask(&mut **link)) {
            Ok(answer) => Poll::Ready(Ok(answer)),
            Err(lost) => Poll::Ready(self.give_up(half, lost).map(|()| idle)),
        }
    }

    /// Ends a half that failed. Fails if no half is left, or the stream must end.
    fn give_up(&mut self, half: TeeHalf, lost: Lost) -> Result<(), Lost> {
        let (without, link, other) = match half {
            TeeHalf::Recording => (self.without_recording, &mut self.recording, &self.relay),
            TeeHalf::Backend => (self.without_relay, &mut self.relay, &self.recording),
        };
        if without == WithoutHalf::Ends || other.is_none() {
            return Err(lost);
        }
        *link = None;
        if half == TeeHalf::Backend {
            self.destination.is_without_backend();
        }
        gave_up(&self.upstream, half, &lost);
        Ok(())
    }
}

/// Logs and counts that one half of a stream failed.
pub(super) fn gave_up(upstream: &str, half: TeeHalf, lost: &Lost) {
    let detail = format!("{:#}", lost.detail);
    match half {
        TeeHalf::Recording => tracing::warn!(
            upstream,
            detail,
            "the recording failed; the stream is only relayed"
        ),
        TeeHalf::Backend => tracing::warn!(
            upstream,
            detail,
            "the backend failed; the stream is recorded, and not delivered"
        ),
    }
    metrics::tee_given_up(upstream, half);
}

impl Link for Tee {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        ready!(self.ask(TeeHalf::Recording, (), |link| link.poll_ready(cx)))?;
        self.ask(TeeHalf::Backend, (), |link| link.poll_ready(cx))
    }

    fn start_send(&mut self, message: Upward) {
        if let Upward::Binary(payload) = &message {
            self.taken += payload.len() as u64;
        }
        for half in [&mut self.relay, &mut self.recording].into_iter().flatten() {
            half.start_send(message.clone());
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let recorded = self.ask(TeeHalf::Recording, (), |link| link.poll_flush(cx))?;
        let relayed = self.ask(TeeHalf::Backend, (), |link| link.poll_flush(cx))?;
        match (recorded, relayed) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn held(&self) -> usize {
        let halves = [&self.relay, &self.recording].into_iter().flatten();
        halves.map(|half| half.held()).sum()
    }

    fn last_progress(&self) -> Option<Instant> {
        let halves = [&self.relay, &self.recording].into_iter().flatten();
        halves.filter_map(|half| half.last_progress()).max()
    }

    fn receipts(&self) -> Receipts {
        let whose = match self.promise {
            Promise::Recorded => &self.recording,
            Promise::None | Promise::Sent | Promise::Confirmed => &self.relay,
        };
        whose
            .as_ref()
            .map_or(Receipts::None, |half| half.receipts())
    }

    fn outage(&self) -> Duration {
        self.relay
            .as_ref()
            .map_or(Duration::ZERO, |relay| relay.outage())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        loop {
            while let Some(recording) = &mut self.recording {
                match recording.poll_event(cx) {
                    Poll::Ready(Ok(event)) if self.promise == Promise::Recorded => {
                        return Poll::Ready(Ok(event));
                    }
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(lost)) => self.give_up(TeeHalf::Recording, lost)?,
                    Poll::Pending => break,
                }
            }
            let Some(relay) = &mut self.relay else {
                if self.believed == Presence::Away {
                    return Poll::Pending;
                }
                self.believed = Presence::Away;
                return Poll::Ready(Ok(Downward::Upstream(Presence::Away)));
            };
            match ready!(relay.poll_event(cx)) {
                Ok(Downward::Kept(_)) if self.promise == Promise::Recorded => {}
                Ok(Downward::Upstream(presence)) => {
                    self.believed = presence;
                    return Poll::Ready(Ok(Downward::Upstream(presence)));
                }
                Ok(event) => return Poll::Ready(Ok(event)),
                Err(lost) => self.give_up(TeeHalf::Backend, lost)?,
            }
        }
    }

    fn poll_complete(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        ready!(self.ask(TeeHalf::Backend, (), |link| link.poll_complete(cx)))?;
        self.ask(TeeHalf::Recording, (), |link| link.poll_complete(cx))
    }

    fn seal(self: Box<Self>, ending: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        async move {
            let sealing = |half: Option<Box<dyn Link>>| {
                OptionFuture::from(half.map(|half| half.seal(ending.clone())))
            };
            // Both run at the same time, because they share one time limit.
            let (recorded, relayed) = tokio::join!(sealing(self.recording), sealing(self.relay));
            let sealed = Sealed { bytes: self.taken };
            let is_recorded = matches!(recorded, Some(Ok(_)));
            let is_relayed = matches!(relayed, Some(Ok(_)));
            if let Some(Err(lost)) = recorded {
                if self.without_recording == WithoutHalf::Ends || !is_relayed {
                    return Err(lost);
                }
                gave_up(&self.upstream, TeeHalf::Recording, &lost);
            }
            if let Some(Err(lost)) = relayed {
                if self.without_relay == WithoutHalf::Ends || !is_recorded {
                    return Err(lost);
                }
                gave_up(&self.upstream, TeeHalf::Backend, &lost);
            }
            match ending {
                StreamEnd::Complete if !is_relayed => Err(Lost::new(
                    "the stream was recorded, but not delivered to the upstream",
                    anyhow!("its backend failed before it had everything"),
                )),
                StreamEnd::Complete | StreamEnd::Cut(_) | StreamEnd::Left => Ok(sealed),
            }
        }
        .boxed()
    }
}
