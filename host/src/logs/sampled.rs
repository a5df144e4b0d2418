//! Lines of one kind that anybody can cause: so many in a time, and the count of the others.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets through so many lines in each period.
#[derive(Debug)]
pub struct Sampled {
    most: u32,
    period: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    since: Option<Instant>,
    told: u32,
    left_out: u64,
}

impl Sampled {
    /// At most so many lines in each period.
    #[must_use]
    pub const fn new(most: u32, period: Duration) -> Self {
        Self {
            most,
            period,
            state: Mutex::new(State {
                since: None,
                told: 0,
                left_out: 0,
            }),
        }
    }

    /// Whether the next line may be written: then how many were left out before it.
    pub fn next(&self) -> Option<u64> {
        self.next_at(Instant::now())
    }

    fn next_at(&self, now: Instant) -> Option<u64> {
        // Each field is right by itself, so poisoning carries no news.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |since| now.saturating_duration_since(since) >= self.period;
        if state.since.is_none_or(is_over) {
            state.since = Some(now);
            state.told = 0;
        }
        if state.told >= self.most {
            state.left_out += 1;
            return None;
        }
        state.told += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_are_written_and_the_others_are_counted() {
        let sampled = Sampled::new(2, Duration::from_secs(1));
        let start = Instant::now();
        let at = |millis| sampled.next_at(start + Duration::from_millis(millis));
        assert_eq!(
            [at(0), at(1), at(2), at(999)],
            [Some(0), Some(0), None, None]
        );
        assert_eq!([at(1000), at(1001), at(1002)], [Some(2), Some(0), None]);
        assert_eq!(at(5000), Some(1));
    }
}
