//! Detection of a dead backend: a machine that lost its power sends no FIN.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Dead-peer detection: asks a silent backend with a ping, and gives up without an answer.
pub(super) struct Silence {
    limit: Duration,
    asked: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

pub(super) enum Quiet {
    /// The backend is silent and should be pinged.
    Suspicious,
    /// The backend did not answer the ping.
    TooLong,
}

impl Silence {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            asked: None,
            alarm: Box::pin(sleep(limit / 3)),
        }
    }

    /// Time without any bytes after which a backend counts as dead.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, last_received: Instant) -> Poll<Quiet> {
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let now = Instant::now();
            let third = self.limit / 3;
            // While its client does not read, the backend is not read either. So the time counts
            // from the ping.
            match self.asked.filter(|asked| *asked > last_received) {
                Some(asked) if now >= asked + third * 2 => return Poll::Ready(Quiet::TooLong),
                Some(asked) => self.alarm.as_mut().reset(asked + third * 2),
                None if now >= last_received + third => {
                    self.asked = Some(now);
                    self.alarm.as_mut().reset(now + third * 2);
                    return Poll::Ready(Quiet::Suspicious);
                }
                // The timer is moved only when it fires, so an active backend costs nothing.
                None => self.alarm.as_mut().reset(last_received + third),
            }
        }
    }
}
