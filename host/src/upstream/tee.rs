//! A stream that is relayed and recorded.
//!
//! Both get every message, and the slower of them holds the client back. The
//! recording is what counts: a recording that fails ends the stream, and a
//! relay that fails for good ends it only where its backend's loss does. So the
//! recording is complete even when the backend was not there.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::Instant;

use super::websocket::{OnLoss, Promise, WebSocket};
use super::{Downward, Ending, Link, Lost, Presence, Receipts, Sealed, Upward};

#[cfg(test)]
mod tests;

/// See the module.
pub(super) struct Tee {
    recording: Box<dyn Link>,
    /// `None` once it was given up.
    relay: Option<Box<dyn Link>>,
    without_relay: WithoutRelay,
    /// Whose word counts for what is safe.
    promise: Promise,
    /// What the client believes of its backend.
    believed: Presence,
}

/// What becomes of a stream whose relay was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WithoutRelay {
    /// It ends.
    Ends,
    /// It is recorded to its end.
    GoesOn,
}

impl Tee {
    pub(super) fn new(recording: Box<dyn Link>, relay: Box<dyn Link>, backend: &WebSocket) -> Self {
        Self {
            recording,
            relay: Some(relay),
            without_relay: match backend.on_loss {
                OnLoss::Fail => WithoutRelay::Ends,
                OnLoss::Hold(_) => WithoutRelay::GoesOn,
            },
            promise: backend.receipts,
            believed: Presence::Here,
        }
    }

    /// What the relay answers; what it would answer without trouble, once it was
    /// given up.
    fn relayed<T>(
        &mut self,
        idle: T,
        ask: impl FnOnce(&mut dyn Link) -> Poll<Result<T, Lost>>,
    ) -> Poll<Result<T, Lost>> {
        let Some(relay) = &mut self.relay else {
            return Poll::Ready(Ok(idle));
        };
        match ready!(ask(&mut **relay)) {
            Ok(answer) => Poll::Ready(Ok(answer)),
            Err(lost) => Poll::Ready(self.give_up(lost).map(|()| idle)),
        }
    }

    /// The relay will not take anything any more.
    fn give_up(&mut self, lost: Lost) -> Result<(), Lost> {
        if self.without_relay == WithoutRelay::Ends {
            return Err(lost);
        }
        tracing::warn!(detail = ?lost.detail, "the backend is given up; the stream is only recorded");
        self.relay = None;
        Ok(())
    }
}

impl Link for Tee {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        ready!(self.recording.poll_ready(cx))?;
        self.relayed((), |relay| relay.poll_ready(cx))
    }

    fn start_send(&mut self, message: Upward) {
        if let Some(relay) = &mut self.relay {
            relay.start_send(message.clone());
        }
        self.recording.start_send(message);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let recorded = self.recording.poll_flush(cx)?;
        let relayed = self.relayed((), |relay| relay.poll_flush(cx))?;
        match (recorded, relayed) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    fn last_progress(&self) -> Option<Instant> {
        let relay = self.relay.as_ref();
        let moved = relay.and_then(|relay| relay.last_progress());
        moved.max(self.recording.last_progress())
    }

    fn receipts(&self) -> Receipts {
        match (self.promise, &self.relay) {
            (Promise::Recorded, _) => self.recording.receipts(),
            (_, Some(relay)) => relay.receipts(),
            (_, None) => Receipts::None,
        }
    }

    fn outage(&self) -> Duration {
        self.relay
            .as_ref()
            .map_or(Duration::ZERO, |relay| relay.outage())
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        loop {
            while let Poll::Ready(event) = self.recording.poll_event(cx)? {
                if self.promise == Promise::Recorded {
                    return Poll::Ready(Ok(event));
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
                Err(lost) => self.give_up(lost)?,
            }
        }
    }

    fn poll_complete(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        ready!(self.relayed((), |relay| relay.poll_complete(cx)))?;
        self.recording.poll_complete(cx)
    }

    fn seal(self: Box<Self>, ending: Ending) -> BoxFuture<'static, Result<Sealed, Lost>> {
        async move {
            let Self {
                recording, relay, without_relay, ..
            } = *self;
            let relaying = async {
                match relay {
                    Some(relay) => relay.seal(ending.clone()).await.map(drop),
                    None => Ok(()),
                }
            };
            // At once: the time that both have is one.
            let (recorded, relayed) = tokio::join!(recording.seal(ending.clone()), relaying);
            match (recorded, relayed, without_relay) {
                (Ok(_), Err(lost), WithoutRelay::Ends) | (Err(lost), _, _) => Err(lost),
                (Ok(sealed), Err(lost), WithoutRelay::GoesOn) => {
                    tracing::warn!(detail = ?lost.detail, "the stream is recorded, and its backend has not got all of it");
                    Ok(sealed)
                }
                (Ok(sealed), Ok(()), _) => Ok(sealed),
            }
        }
        .boxed()
    }
}
