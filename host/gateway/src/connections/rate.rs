//! Bytes per second that a connection moves, as of the latest look at it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Stands for a rate that nobody has looked at yet.
const UNKNOWN: u64 = u64::MAX;

/// Rate of one direction. One task looks at it, so a frame costs nothing more.
#[derive(Debug)]
pub(super) struct Rate {
    /// Bytes at the latest look.
    bytes: AtomicU64,
    per_second: AtomicU64,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            per_second: AtomicU64::new(UNKNOWN),
        }
    }
}

impl Rate {
    /// Takes the rate of the time that has passed since the look before.
    pub(super) fn look(&self, bytes: u64, passed: Duration) {
        let moved = bytes.saturating_sub(self.bytes.swap(bytes, Ordering::Relaxed));
        let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
        let per_second = moved.saturating_mul(1000) / millis;
        self.per_second
            .store(per_second.min(UNKNOWN - 1), Ordering::Relaxed);
    }

    /// Bytes per second; `None` before the first look.
    pub(super) fn per_second(&self) -> Option<u64> {
        let rate = self.per_second.load(Ordering::Relaxed);
        (rate != UNKNOWN).then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_time_between_two_looks() {
        let rate = Rate::default();
        assert_eq!(rate.per_second(), None);
        for (bytes, passed, expected) in [
            (64_000, 2000, 32_000),
            (64_000, 2000, 0),
            (65_000, 500, 2000),
            (66_000, 0, 1_000_000),
        ] {
            rate.look(bytes, Duration::from_millis(passed));
            assert_eq!(rate.per_second(), Some(expected), "{bytes}");
        }
    }
}
