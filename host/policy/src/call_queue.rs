//! Bounded queue for the calls of one policy.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Concurrency limit of one policy's calls, with a bounded queue.
///
/// It bounds how many of the engine's slots one policy can hold, so that a policy that loops leaves
/// slots to the others.
pub struct CallQueue {
    calls: Arc<Semaphore>,
    queue: Semaphore,
}

impl CallQueue {
    /// Queue that allows this many calls at once, and this many that wait.
    #[must_use]
    pub fn new(calls: usize, queue: usize) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS))),
            queue: Semaphore::new(queue.min(Semaphore::MAX_PERMITS)),
        }
    }

    /// Waits until the call may start. Returns `None` at once if too many calls wait already.
    pub async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned() {
            return Some(permit);
        }
        let _place = self.queue.try_acquire().ok()?;
        Arc::clone(&self.calls).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::pin::pin;

    #[tokio::test]
    async fn calls_beyond_the_queue_are_sent_away_and_those_in_it_start_later() {
        let queue = CallQueue::new(1, 1);
        let first = queue.take().await;
        assert!(first.is_some());
        let mut waiting = pin!(queue.take());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(matches!(queue.take().now_or_never(), Some(None)));
        drop(first);
        assert!(matches!(waiting.now_or_never(), Some(Some(_))));
        assert!(queue.take().await.is_some());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_the_queue() {
        let queue = CallQueue::new(1, 1);
        let first = queue.take().await;
        for _ in 0..3 {
            assert!(queue.take().now_or_never().is_none());
        }
        drop(first);
        assert!(queue.take().await.is_some());
    }
}
