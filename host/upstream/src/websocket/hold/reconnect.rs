//! Reconnection of a held stream to its backend.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::anyhow;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use super::super::Replay;
use super::super::link::BackendLink;
use super::{BackendState, HeldStream};
use crate::link::{Lost, OpenError};
use base::metrics;
use wire::frame::PeerClose;

/// Time limit of one attempt to reach the backend.
const ATTEMPT: Duration = Duration::from_secs(4);
/// First and maximum pause before the backend is dialled again.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(5);
/// Time that a backend must stay before an outage counts as over. A backend that accepts streams
/// and loses them at once has not come back.
const STEADY: Duration = Duration::from_secs(5);

/// Effect of an unavailable backend on a stream that would be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Absent {
    /// The stream is refused.
    Refuses,
    /// The stream begins nevertheless, because it is recorded.
    IsWaitedFor,
}

/// State of the attempts to reach a backend that is away.
pub(super) enum Redial {
    Waiting(Pin<Box<Sleep>>),
    Dialing(BoxFuture<'static, Result<BackendLink, OpenError>>),
}

/// Current or last outage of the backend.
pub(super) struct Outage {
    /// Most recent reason.
    why: Option<Lost>,
    tries: u32,
    ends: Pin<Box<Sleep>>,
    back_since: Instant,
    /// Bytes that had arrived when the backend came back.
    back_at: u64,
}

impl HeldStream {
    /// Handles the loss of the connection to the backend.
    pub(super) fn lose(&mut self, lost: Lost) {
        let BackendState::Up(relay) = &self.state else {
            return;
        };
        self.sent = self.sent.max(relay.taken());
        self.reached = self.reached.max(relay.reached());
        let session_id = &*self.stream.session_id;
        tracing::warn!(
            session_id, upstream = &*self.dialer.name, detail = ?lost.detail,
            sent = self.sent, reached = self.reached,
            "the backend was lost; the stream is held"
        );
        metrics::upstream_lost(&self.dialer.name);
        self.stream.destination.is_without_backend();
        let is_new =
            self.outage.back_since.elapsed() >= STEADY || self.reached > self.outage.back_at;
        if is_new || self.outage.why.is_none() {
            self.outage.tries = 0;
            let ends = Instant::now() + self.hold.timeout;
            self.outage.ends.as_mut().reset(ends);
        }
        self.outage.why = Some(lost);
        let away = BackendState::Away(self.outage.next_attempt());
        if let BackendState::Up(relay) = std::mem::replace(&mut self.state, away) {
            relay.part();
        }
    }

    /// Ready once the backend is back.
    pub(super) fn poll_back(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Lost> {
        loop {
            let BackendState::Away(attempt) = &mut self.state else {
                return Ok(Poll::Ready(()));
            };
            if self.outage.ends.as_mut().poll(cx).is_ready() {
                metrics::upstream_given_up(&self.dialer.name);
                return Err(self.outage.over(self.hold.timeout));
            }
            match attempt {
                Redial::Waiting(pause) => {
                    if pause.as_mut().poll(cx).is_pending() {
                        return Ok(Poll::Pending);
                    }
                    let from = self.goes_on_at();
                    let (dialer, stream) = (self.dialer.clone(), self.stream.clone());
                    let dialing = async move {
                        let slow = |elapsed| {
                            OpenError::unavailable("the upstream cannot be reached", elapsed)
                        };
                        let dialing = timeout(ATTEMPT, dialer.dial(&stream, from));
                        dialing.await.map_err(slow)?
                    };
                    self.state = BackendState::Away(Redial::Dialing(dialing.boxed()));
                }
                Redial::Dialing(dialing) => {
                    let Poll::Ready(dialed) = dialing.as_mut().poll(cx) else {
                        return Ok(Poll::Pending);
                    };
                    match dialed {
                        Ok(relay) => self.come_back(relay),
                        Err(OpenError::Unavailable { public, detail }) => {
                            tracing::debug!(
                                session_id = &*self.stream.session_id,
                                ?detail,
                                "the backend is not back"
                            );
                            self.outage.why = Some(Lost { public, detail });
                            self.state = BackendState::Away(self.outage.next_attempt());
                        }
                        // The backend is back, and refuses the stream.
                        Err(error) => {
                            metrics::upstream_given_up(&self.dialer.name);
                            let detail = anyhow!(error).context("the backend, when it was back");
                            return Err(Lost::new("the upstream refused to go on", detail));
                        }
                    }
                }
            }
        }
    }

    fn goes_on_at(&self) -> u64 {
        match self.hold.replay {
            Replay::Confirmed | Replay::AtLeastOnce => self.reached,
            Replay::AtMostOnce => self.buffer.position(),
        }
    }

    /// Tells the backend where the stream continues, and replays the buffer from there.
    fn come_back(&mut self, mut relay: BackendLink) {
        let from = self.goes_on_at();
        let (overlap, gap) = match self.hold.replay {
            Replay::Confirmed | Replay::AtLeastOnce => (self.sent.saturating_sub(from), 0),
            Replay::AtMostOnce => (0, from.saturating_sub(self.reached)),
        };
        tracing::info!(
            session_id = &*self.stream.session_id,
            upstream = &*self.dialer.name,
            from,
            overlap,
            gap,
            "the backend is back; the stream goes on"
        );
        metrics::upstream_restored(&self.dialer.name);
        relay.goes_on(from, overlap, gap, self.buffer.begins_paused());
        match self.hold.replay {
            Replay::Confirmed | Replay::AtLeastOnce => self.buffer.rewind(from),
            Replay::AtMostOnce => {}
        }
        self.outage.back_since = Instant::now();
        self.outage.back_at = self.reached;
        self.state = BackendState::Up(Box::new(relay));
    }
}

impl Redial {
    /// First attempt after a stream began without its backend.
    pub(super) fn soon() -> Self {
        Self::Waiting(Box::pin(sleep(SOONEST)))
    }
}

impl Outage {
    /// Outage that ends the stream after `timeout`, unless the backend is there or comes back.
    pub(super) fn new(why: Option<Lost>, timeout: Duration) -> Self {
        Self {
            why,
            tries: 0,
            ends: Box::pin(sleep(timeout)),
            back_since: Instant::now(),
            back_at: 0,
        }
    }

    /// Next attempt, with exponential backoff and jitter.
    pub(super) fn next_attempt(&mut self) -> Redial {
        let pause = SOONEST.saturating_mul(1 << self.tries.min(16)).min(LATEST);
        self.tries += 1;
        let pause = pause.mul_f64(fastrand::f64() + 0.5);
        Redial::Waiting(Box::pin(sleep_until(Instant::now() + pause)))
    }

    /// Error for an outage that lasted too long.
    pub(super) fn over(&mut self, limit: Duration) -> Lost {
        let why = self
            .why
            .take()
            .map_or_else(|| anyhow!("it was not there"), |lost| lost.detail);
        let detail = why.context(format!("the backend was away for {limit:?}"));
        Lost::new("the upstream was lost, and did not come back", detail)
    }
}

/// Whether a Close is about the backend or its transport, and not about the stream (RFC 6455,
/// section 7.4).
pub(super) fn is_a_loss(close: &PeerClose) -> bool {
    close.code != 1000 && close.code < 3000
}
