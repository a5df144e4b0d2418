//! How long a client waits before it comes back, and when it gives up.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait. A network that only hiccuped is there again by then.
const FIRST: Duration = Duration::from_millis(250);

/// The longest one: a stream that waits for its client does so for seconds.
const LONGEST: Duration = Duration::from_secs(5);

/// What is left of a client's patience. It is spent while nothing gets on.
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

    /// Something got on.
    pub(crate) fn renew(&mut self) {
        *self = Self::new(self.limit);
    }

    /// How long to wait now: each time about twice as long as the time before,
    /// and never shorter than the gateway asked for. `None` where that would be
    /// past the limit.
    ///
    /// Clients that were cut off together must not come back together, so the
    /// half of it is left to chance.
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
