//! Who of a policy's calls goes now, who waits, and who need not.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A policy that loops holds so many slots of the engine and no more, so that
/// the other policies find some.
pub struct Turns {
    calls: Arc<Semaphore>,
    queue: Semaphore,
}

impl Turns {
    /// So many calls at once, and so many that wait.
    #[must_use]
    pub fn new(calls: usize, queue: usize) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(calls.min(Semaphore::MAX_PERMITS))),
            queue: Semaphore::new(queue.min(Semaphore::MAX_PERMITS)),
        }
    }

    /// Waits for a turn; `None` at once where too many wait already.
    pub async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(turn) = Arc::clone(&self.calls).try_acquire_owned() {
            return Some(turn);
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
    async fn calls_beyond_the_queue_are_sent_away_and_those_in_it_get_their_turn() {
        let turns = Turns::new(1, 1);
        let first = turns.take().await;
        assert!(first.is_some());
        let mut waiting = pin!(turns.take());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(matches!(turns.take().now_or_never(), Some(None)));
        drop(first);
        assert!(matches!(waiting.now_or_never(), Some(Some(_))));
        assert!(turns.take().await.is_some());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_leaves_the_queue() {
        let turns = Turns::new(1, 1);
        let first = turns.take().await;
        for _ in 0..3 {
            assert!(turns.take().now_or_never().is_none());
        }
        drop(first);
        assert!(turns.take().await.is_some());
    }
}
