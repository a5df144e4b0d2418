//! The time that a call has: by the clock on the wall, as long as the gateway had a core for it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, Sleep, sleep_until};

/// How often a running guest yields to its neighbours on the same thread. Few
/// calls last that long, and those go on in a slow lane.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// What every call gets of a core, however late it is.
///
/// A call that is interrupted by the epoch's tick goes to the end of its thread's queue, and a thread of a lane shares the cores
/// with whatever else runs. Under load that can take longer than the limit, and is the gateway's doing: no policy shall be
/// said to have failed by it. A call that works needs less than this; a guest that loops uses it up, and is then held to
/// the limit.
const DUE: Duration = Duration::from_millis(40);
/// What a turn counts for at the least, so that a call which waits for something is not asked for ever.
const TURN: Duration = Duration::from_micros(20);

/// A call that has its limit. `None` when it had its due and its time is up.
pub(super) struct Budgeted<T> {
    call: BoxFuture<'static, T>,
    had: Duration,
    ends_at: Instant,
    time: Time,
    first_turn: Clock,
}

/// What the first turn of a call is measured by.
enum Clock {
    /// The clock on the wall, which costs 25 ns. The kernel may have given the core to somebody else meanwhile.
    Wall,
    /// The thread's own time, which costs a tenth of an ordinary decision.
    Thread,
}

enum Time {
    /// It had no turn yet.
    Fresh,
    /// It had one, and has more until the time is up.
    Going(Pin<Box<Sleep>>),
    /// The time is up.
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
            first_turn: Clock::Wall,
        }
    }

    /// The same, measured exactly from its first turn on: by whoever hands it to another thread, which costs more.
    pub(super) fn exactly(mut self) -> Self {
        self.first_turn = Clock::Thread;
        self
    }

    /// When its time is up.
    pub(super) const fn ends_at(&self) -> Instant {
        self.ends_at
    }

    /// What it had of a core.
    pub(super) const fn had(&self) -> Duration {
        self.had
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Poll<T> {
        // Most calls have one turn, and to ask the kernel what it took would take a tenth of that. A core can have been
        // away meanwhile, which is not the call's doing, but interrupted it would have been in two ticks.
        if matches!((&self.time, &self.first_turn), (Time::Fresh, Clock::Wall)) {
            let before = std::time::Instant::now();
            let polled = self.call.poll_unpin(context);
            self.had += before.elapsed().min(2 * TICK);
            return polled;
        }
        let before = thread_time();
        let polled = self.call.poll_unpin(context);
        self.had += thread_time().saturating_sub(before).max(TURN);
        polled
    }
}

impl<T> Future for Budgeted<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.turn(context) {
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

/// The time that a core has given this thread since it began: what it waited for one is not in it.
fn thread_time() -> Duration {
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
