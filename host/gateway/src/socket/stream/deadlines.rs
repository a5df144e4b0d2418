//! What ends a stream, or pings its client, because time has passed.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

use super::relay::{Input, Relay};
use crate::parking::pace::StreamLimit;
use crate::socket::cause::Cause;
use wire::frame::Violation;

impl Relay<'_> {
    /// The alarm is moved only when it would ring too late: most deadlines
    /// only ever move away from it, and a timer that rings early costs less
    /// than one that is moved with every frame.
    pub(super) fn poll_alarm(
        &mut self,
        cx: &mut Context<'_>,
        mut alarm: Pin<&mut Sleep>,
    ) -> Poll<Cause> {
        loop {
            let next = self.next_deadline();
            if next < alarm.deadline() {
                alarm.as_mut().reset(next);
            }
            // Once the task's cooperative budget is used up, a timer is always pending. A client
            // that always has more to send uses up every budget, so its deadlines would never
            // expire. So the clock is checked as well.
            let rings = alarm.as_mut().poll(cx).is_ready();
            let now = Instant::now();
            if !rings && now < alarm.deadline() {
                return Poll::Pending;
            }
            if let Some(cause) = self.overdue(now) {
                return Poll::Ready(cause);
            }
            self.wire.write_some(cx);
            if self.pace.rests_until().is_some() && !self.pace.rests() {
                // The client may be read again, and its bytes may be here already.
                cx.waker().wake_by_ref();
            }
            let next = self.next_deadline();
            alarm.as_mut().reset(next);
        }
    }

    /// Acts on every deadline that has come.
    fn overdue(&mut self, now: Instant) -> Option<Cause> {
        if self.renewals.ends.is_some_and(|at| at <= now) {
            return Some(Cause::TokenExpired);
        }
        if self.renewals.notice_at.is_some_and(|at| at <= now) {
            self.give_notice(now);
        }
        if self.pace.ends_at().is_some_and(|at| at <= now) {
            return Some(Cause::StreamLimit(StreamLimit::TooLong));
        }
        if self.stalls_at().is_some_and(|at| at <= now) {
            return Some(Cause::Stalled);
        }
        // While the host does not read, it does not even see that its client
        // has gone: what it waits for must have an end of its own.
        if self.upstream_stalls_at().is_some_and(|at| at <= now) {
            return Some(Cause::UpstreamStalled);
        }
        if self.input == Input::Read {
            if self.unfinished_at().is_some_and(|at| at <= now) {
                return Some(Cause::Violation(Violation::Unfinished));
            }
            if self.idles_at() <= now {
                return Some(Cause::Idle);
            }
        }
        if self.pings_at() <= now {
            self.last_ping = now;
            self.wire.writer.ping(&[]);
        }
        None
    }

    pub(super) fn next_deadline(&self) -> Instant {
        let reading = self.input == Input::Read;
        let deadlines = [
            Some(self.pings_at()),
            self.renewals.ends,
            self.renewals.notice_at,
            self.pace.ends_at(),
            self.pace.rests_until(),
            self.stalls_at(),
            self.upstream_stalls_at(),
            reading.then(|| self.idles_at()),
            self.unfinished_at().filter(|_| reading),
        ];
        deadlines
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| self.pings_at())
    }

    /// A client that speaks need not be asked whether it is there.
    fn pings_at(&self) -> Instant {
        self.last_ping.max(self.wire.reader.last_received()) + self.limits.ping_interval
    }

    fn idles_at(&self) -> Instant {
        self.wire.reader.last_received() + self.limits.idle_timeout
    }

    fn unfinished_at(&self) -> Option<Instant> {
        Some(self.wire.reader.unfinished_since()? + self.limits.message_timeout)
    }

    fn stalls_at(&self) -> Option<Instant> {
        (self.wire.writer.queued() > 0)
            .then(|| self.wire.writer.last_progress() + self.limits.write_timeout)
    }

    /// A large message over a slow line takes its time: what counts is that
    /// it moves.
    fn upstream_stalls_at(&self) -> Option<Instant> {
        let since = self.upstream_busy_since?;
        let moved = self.link.last_progress();
        let since = moved.map_or(since, |moved| moved.max(since));
        Some(since + self.limits.write_timeout + self.link.outage())
    }
}
