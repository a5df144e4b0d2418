//! Time limit of a policy call: wall-clock time, extended until the call had its minimum of CPU
//! time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, Sleep, sleep_until};

/// How often a running guest yields to the other tasks of its thread. Calls that last longer move
/// to a pool of worker threads.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// CPU time that every call gets before its limit applies.
///
/// A call that is interrupted by the epoch's tick goes to the end of its thread's queue, and a
/// worker thread shares the cores with whatever else runs. Under load that can take longer than the
/// limit. That is the gateway's doing and must not count as a failure of the policy. A call that
/// works needs less CPU time than this. A guest that loops uses it up, and then the limit applies.
const DUE: Duration = Duration::from_millis(40);
/// CPU time that each poll counts for at least, so that a call that only waits is not polled
/// forever.
const LEAST_POLL: Duration = Duration::from_micros(20);

/// Policy call with a time limit: `None` once its time is up and it had its CPU time ([`DUE`]).
pub(super) struct Budgeted<T> {
    call: BoxFuture<'static, T>,
    had: Duration,
    ends_at: Instant,
    time: Time,
    first_poll: Clock,
}

/// Clock that measures the first poll of a call.
enum Clock {
    /// Wall clock, which costs 25 ns to read. The kernel may have preempted the thread meanwhile.
    Wall,
    /// CPU time of the thread. To read it costs a tenth of an ordinary decision.
    Thread,
}

enum Time {
    /// The call was not polled yet.
    Fresh,
    /// The call was polled, and its time is not up.
    Going(Pin<Box<Sleep>>),
    /// The call's time is up.
    Late,
}

impl<T> Budgeted<T> {
    /// A call that begins now.
    pub(super) fn new(limit: Duration, call: BoxFuture<'static, T>) -> Self {
        Self {
            call,
            had: Duration::ZERO,
            ends_at: Instant::now() + limit,
            time: Time::Fresh,
            first_poll: Clock::Wall,
        }
    }

    /// The same, measured in CPU time from the first poll on. For calls that are handed to another
    /// thread, which costs more than the measurement.
    pub(super) fn exactly(mut self) -> Self {
        self.first_poll = Clock::Thread;
        self
    }

    /// When the call's time is up.
    pub(super) const fn ends_at(&self) -> Instant {
        self.ends_at
    }

    /// CPU time that the call has used.
    pub(super) const fn had(&self) -> Duration {
        self.had
    }

    fn measured_poll(&mut self, context: &mut Context<'_>) -> Poll<T> {
        // Most calls are polled once, and to ask the kernel for the CPU time would take a tenth of
        // that poll. The wall clock also counts time for which the thread was preempted. A running
        // guest is interrupted within two ticks, so anything above that is not the call's.
        if matches!((&self.time, &self.first_poll), (Time::Fresh, Clock::Wall)) {
            let before = std::time::Instant::now();
            let polled = self.call.poll_unpin(context);
            self.had += before.elapsed().min(2 * TICK);
            return polled;
        }
        let before = thread_time();
        let polled = self.call.poll_unpin(context);
        self.had += thread_time().saturating_sub(before).max(LEAST_POLL);
        polled
    }
}

impl<T> Future for Budgeted<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.measured_poll(context) {
            return Poll::Ready(Some(value));
        }
        if let Time::Fresh = self.time {
            self.time = Time::Going(Box::pin(sleep_until(self.ends_at)));
        }
        if let Time::Going(sleep) = &mut self.time {
            if sleep.poll_unpin(context).is_pending() {
                return Poll::Pending;
            }
            self.time = Time::Late;
        }
        if self.had >= DUE {
            return Poll::Ready(None);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// CPU time of this thread since it began.
pub(super) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    /// A call that is interrupted so many times, and each time waits for
    /// longer than its limit until it has the thread again.
    async fn interrupted(times: u32) -> &'static str {
        for _ in 0..times {
            advance(LIMIT * 2).await;
            yield_now().await;
        }
        "decided"
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waited_for_the_thread_is_not_out_of_time() {
        assert_eq!(
            Budgeted::new(LIMIT, interrupted(1).boxed()).await,
            Some("decided")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_had_its_due_is_out_of_time() {
        assert_eq!(
            Budgeted::new(LIMIT, interrupted(10_000).boxed()).await,
            None
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_for_ever_is_out_of_time() {
        assert_eq!(
            Budgeted::new(LIMIT, std::future::pending::<()>().boxed()).await,
            None
        );
    }
}
