//! The time that a call has, by the clock on the wall.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::timeout;

/// Turns on the thread that every call gets, however late it is.
///
/// A call that is interrupted by the epoch's tick goes to the end of its thread's queue, and under
/// load the queue is longer than the limit. The wait is the gateway's doing: no policy shall be
/// said to have failed by it. A call that works needs a few turns; a guest that loops uses up its
/// turns, of a short tick each, and is then held to the limit.
const TURNS: u32 = 40;

/// Runs a call for at most `limit`. `None` when it had its turns and its time is up.
pub(super) async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut turns = 0;
    let counted = poll_fn(|context| {
        turns += 1;
        call.as_mut().poll(context)
    });
    if let Ok(value) = timeout(limit, counted).await {
        return Some(value);
    }
    while turns < TURNS {
        turns += 1;
        let polled = poll_fn(|context| Poll::Ready(call.as_mut().poll(context)));
        if let Poll::Ready(value) = polled.await {
            return Some(value);
        }
        yield_now().await;
    }
    None
}

#[cfg(test)]
mod tests {
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
        assert_eq!(within(LIMIT, interrupted(1)).await, Some("decided"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_used_its_turns_is_out_of_time() {
        assert_eq!(within(LIMIT, interrupted(100)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_for_ever_is_out_of_time() {
        assert_eq!(within(LIMIT, std::future::pending::<()>()).await, None);
    }
}
