//! Notices when a backend vanished without a word: a machine that lost its
//! power sends no FIN.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// See the module.
pub(super) struct Silence {
    limit: Duration,
    asked: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

pub(super) enum Quiet {
    /// It should be asked whether it is there.
    Suspicious,
    /// It is not.
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

    /// What is taken for too long.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, last_received: Instant) -> Poll<Quiet> {
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let now = Instant::now();
            let third = self.limit / 3;
            // While its client does not read, the backend is not read either,
            // so that silence counts from the question.
            match self.asked.filter(|asked| *asked > last_received) {
                Some(asked) if now >= asked + third * 2 => return Poll::Ready(Quiet::TooLong),
                Some(asked) => self.alarm.as_mut().reset(asked + third * 2),
                None if now >= last_received + third => {
                    self.asked = Some(now);
                    self.alarm.as_mut().reset(now + third * 2);
                    return Poll::Ready(Quiet::Suspicious);
                }
                // An alarm that is moved only when it rings costs nothing for
                // a backend that speaks.
                None => self.alarm.as_mut().reset(last_received + third),
            }
        }
    }
}
