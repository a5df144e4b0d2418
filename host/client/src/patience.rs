//! Retry policy: exponential backoff with jitter, and a limit.

use std::time::Duration;

use tokio::time::Instant;

/// First pause. A brief network failure is over by then.
const FIRST: Duration = Duration::from_millis(250);

/// Maximum pause, because a gateway holds an interrupted stream only for seconds.
const LONGEST: Duration = Duration::from_secs(5);

/// Backoff state. The limit counts the time without progress.
pub struct Patience {
    limit: Duration,
    spent_since: Option<Instant>,
    tries: u32,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            spent_since: None,
            tries: 0,
        }
    }

    /// Resets the backoff after progress.
    pub(crate) fn renew(&mut self) {
        *self = Self::new(self.limit);
    }

    /// Next pause: about twice the previous one, and at least what the gateway asked for. `None` if
    /// it would exceed the limit.
    ///
    /// Half of the pause is random, because clients that were cut off together must not return
    /// together.
    pub fn wait(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let since = *self.spent_since.get_or_insert_with(Instant::now);
        let doubled = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries += 1;
        let wait = doubled
            .mul_f64(0.5 + fastrand::f64() / 2.0)
            .max(asked.unwrap_or_default());
        let spent = since.elapsed().saturating_add(wait);
        (spent <= self.limit).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_longest_and_the_half_is_chance() {
        let mut patience = Patience::new(Duration::MAX);
        for millis in [250, 500, 1000, 2000, 4000, 5000, 5000] {
            let wait = patience.wait(None).unwrap();
            let whole = Duration::from_millis(millis);
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
        patience.renew();
        assert!(patience.wait(None).unwrap() <= FIRST);
        let mut waits = (0..100).map(|_| Patience::new(Duration::MAX).wait(None));
        let first = waits.next().unwrap();
        assert!(waits.any(|wait| wait != first), "all waited alike");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_gateway_asked_for_is_waited() {
        let mut patience = Patience::new(Duration::from_mins(1));
        let asked = Duration::from_secs(7);
        assert_eq!(patience.wait(Some(asked)), Some(asked));
        assert_eq!(patience.wait(Some(Duration::from_mins(2))), None);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_where_nothing_gets_on() {
        let mut patience = Patience::new(Duration::from_secs(20));
        let started = Instant::now();
        while let Some(wait) = patience.wait(None) {
            tokio::time::sleep(wait).await;
        }
        let waited = started.elapsed();
        assert!(waited <= Duration::from_secs(20), "{waited:?}");
        assert!(waited > Duration::from_secs(14), "{waited:?}");
        assert_eq!(Patience::new(Duration::ZERO).wait(None), None);
    }
}
