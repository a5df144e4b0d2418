//! What tokens tell of their issuer's clock.
//!
//! A token says when it was issued (`iat`). If that is in the future, the issuer's clock is ahead of
//! the gateway's by at least as much. If even the youngest token is old, the gateway's clock may be
//! ahead, by no more than that age. Only tokens with a valid signature, issuer and audience count, so
//! a client can choose among tokens of the issuer and cannot make up a time. The largest `iat` is
//! what counts, so old tokens hide nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Length of each of the two parts of the window, in seconds.
const PART: u64 = 300;
/// Largest difference that is told, in seconds: ten years. Some issuers write milliseconds.
const MOST: i64 = 10 * 365 * 86_400;

/// Whether a token is valid at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validity {
    /// It is.
    Now,
    /// It was: `exp` is in the past.
    Expired,
    /// It will be: `nbf` is in the future.
    NotYet,
}

/// Times of the tokens of the latest minutes.
#[derive(Debug, Default)]
pub(crate) struct Clock(Mutex<Window>);

/// Two parts of five minutes, of which the second is not over.
#[derive(Debug, Default)]
struct Window {
    /// Number of the part that is not over.
    number: u64,
    before: TokenTimes,
    current: TokenTimes,
}

/// Times of the tokens of the latest five to ten minutes, compared with the gateway's clock.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TokenTimes {
    /// Tokens with a valid signature, issuer and audience.
    pub tokens: u64,
    /// Those of them that had expired.
    pub expired: u64,
    /// Those of them that were not valid yet.
    pub not_yet_valid: u64,
    /// The largest difference between `iat` and the time of arrival, in seconds.
    newest: Option<i64>,
}

impl Clock {
    /// Counts a token that was issued at this time, if it says when.
    pub(crate) fn note(&self, now: u64, issued_at: Option<u64>, validity: Validity) {
        let mut window = self.at(now);
        let times = &mut window.current;
        times.tokens += 1;
        times.expired += u64::from(validity == Validity::Expired);
        times.not_yet_valid += u64::from(validity == Validity::NotYet);
        times.newest = times.newest.max(issued_at.map(|at| difference(at, now)));
    }

    /// What the latest tokens show at this time.
    pub(crate) fn times(&self, now: u64) -> TokenTimes {
        let window = self.at(now);
        let (before, current) = (window.before, window.current);
        TokenTimes {
            tokens: before.tokens + current.tokens,
            expired: before.expired + current.expired,
            not_yet_valid: before.not_yet_valid + current.not_yet_valid,
            newest: before.newest.max(current.newest),
        }
    }

    /// The window that ends at this time.
    fn at(&self, now: u64) -> MutexGuard<'_, Window> {
        // Numbers are usable at every step, so poisoning does not matter.
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now / PART;
        if number != window.number {
            let follows = number == window.number + 1;
            let before = std::mem::take(&mut window.current);
            window.before = if follows {
                before
            } else {
                TokenTimes::default()
            };
            window.number = number;
        }
        window
    }
}

impl TokenTimes {
    /// How far the issuer's clock is ahead of the gateway's at least, in seconds.
    #[must_use]
    pub fn ahead(&self) -> u64 {
        u64::try_from(self.newest.unwrap_or_default()).unwrap_or_default()
    }

    /// Age of the youngest token when it arrived, in seconds; `None` if no token says when it was
    /// issued.
    #[must_use]
    pub fn youngest(&self) -> Option<u64> {
        Some(self.newest?.min(0).unsigned_abs())
    }
}

fn difference(issued_at: u64, now: u64) -> i64 {
    let signed = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    (signed(issued_at) - signed(now)).clamp(-MOST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn the_newest_token_counts_and_old_ones_hide_nothing() {
        let clock = Clock::default();
        assert_eq!(clock.times(NOW), TokenTimes::default());
        assert_eq!(clock.times(NOW).youngest(), None);
        for age in [3600, 20, 86_400] {
            clock.note(NOW, Some(NOW - age), Validity::Now);
        }
        let times = clock.times(NOW);
        assert_eq!((times.ahead(), times.youngest()), (0, Some(20)));
        clock.note(NOW, Some(NOW + 90), Validity::NotYet);
        clock.note(NOW, None, Validity::Expired);
        let times = clock.times(NOW);
        assert_eq!((times.ahead(), times.youngest()), (90, Some(0)));
        let counts = (times.tokens, times.expired, times.not_yet_valid);
        assert_eq!(counts, (5, 1, 1));
    }

    #[test]
    fn what_is_over_ten_minutes_ago_counts_no_more() {
        let clock = Clock::default();
        clock.note(NOW, Some(NOW + 90), Validity::Now);
        assert_eq!(clock.times(NOW + PART).ahead(), 90);
        assert_eq!(clock.times(NOW + 2 * PART), TokenTimes::default());
        clock.note(NOW, Some(NOW + 90), Validity::Now);
        assert_eq!(clock.times(NOW + 10 * PART), TokenTimes::default());
        // A gateway's clock that is set back begins anew.
        clock.note(NOW, Some(NOW + 90), Validity::Now);
        assert_eq!(clock.times(NOW - PART), TokenTimes::default());
    }

    #[test]
    fn a_time_in_milliseconds_or_at_the_ends_is_bounded() {
        for (issued_at, ahead) in [
            (NOW * 1000, MOST.unsigned_abs()),
            (u64::MAX, MOST.unsigned_abs()),
        ] {
            let clock = Clock::default();
            clock.note(NOW, Some(issued_at), Validity::Now);
            assert_eq!(clock.times(NOW).ahead(), ahead);
        }
        let clock = Clock::default();
        clock.note(u64::MAX, Some(0), Validity::Now);
        assert_eq!(clock.times(u64::MAX).youngest(), Some(MOST.unsigned_abs()));
    }
}
