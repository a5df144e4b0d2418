//! How long a stream may be, and how fast.

use std::time::Duration;

use tokio::time::Instant;

use base::limits::Limits;
use session::handshake::{Handshake, duration_of};

/// A limit that a stream has gone past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamLimit {
    /// Its audio came too far ahead of real time.
    TooFast,
    /// It lasts too long.
    TooLong,
}

/// Measures a stream against real time. A client that was cut off may bring
/// what it kept at once; one that is always faster than speech is no
/// microphone.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    bytes_per_second: u64,
    bytes: u64,
    /// How far audio may be ahead; nothing is measured without it.
    max_ahead: Option<Duration>,
    rate: Option<Rate>,
    ends_at: Option<Instant>,
}

/// So many bytes in a second, of which a second's worth may come at once.
#[derive(Debug)]
struct Rate {
    bytes_per_second: u64,
    /// When all that was taken would be through at this rate.
    through_at: Instant,
    /// Until when nothing more is taken.
    rests_until: Option<Instant>,
}

/// What may come at once.
const AT_ONCE: Duration = Duration::from_secs(1);

impl Rate {
    fn spend(&mut self, bytes: usize) {
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.bytes_per_second);
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let now = Instant::now();
        self.through_at = self.through_at.max(now) + takes;
        if self.through_at > now + AT_ONCE {
            self.rests_until = Some(self.through_at - AT_ONCE);
        }
    }
}

impl Pace {
    /// Of a stream that begins now. Without a handshake nobody knows how long
    /// its audio lasts.
    #[must_use]
    pub fn begin(limits: &Limits, handshake: Option<&Handshake>) -> Self {
        let began = Instant::now();
        let bytes_per_second = handshake.map_or(0, Handshake::bytes_per_second);
        Self {
            began,
            bytes_per_second,
            bytes: 0,
            max_ahead: limits.max_ahead.filter(|_| bytes_per_second > 0),
            rate: limits.max_rate.map(|bytes_per_second| Rate {
                bytes_per_second,
                through_at: began,
                rests_until: None,
            }),
            ends_at: limits.max_duration.map(|longest| began + longest),
        }
    }

    /// Of a stream that has lasted this long in another process, with this much audio.
    #[must_use]
    pub(crate) fn resume(
        limits: &Limits,
        handshake: &Handshake,
        lasted: Duration,
        bytes: u64,
    ) -> Self {
        let mut pace = Self::begin(limits, Some(handshake));
        // A machine that has run for less than that knows no earlier time.
        pace.began = pace.began.checked_sub(lasted).unwrap_or(pace.began);
        pace.ends_at = limits.max_duration.map(|longest| pace.began + longest);
        pace.bytes = bytes;
        pace
    }

    /// How long the stream has lasted.
    pub(crate) fn lasted(&self) -> Duration {
        self.began.elapsed()
    }

    /// When the stream has lasted long enough.
    #[must_use]
    pub fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// Until when nothing more is to be read, because more came than the stream's rate.
    #[must_use]
    pub(crate) fn rests_until(&self) -> Option<Instant> {
        self.rate.as_ref()?.rests_until
    }

    /// Whether nothing more is to be read yet.
    pub fn rests(&mut self) -> bool {
        let Some(rate) = &mut self.rate else {
            return false;
        };
        rate.rests_until = rate.rests_until.filter(|until| *until > Instant::now());
        rate.rests_until.is_some()
    }

    /// Counts a message of either kind.
    pub(crate) fn spend(&mut self, bytes: usize) {
        if let Some(rate) = &mut self.rate {
            rate.spend(bytes);
        }
    }

    /// Counts audio.
    ///
    /// # Errors
    /// [`StreamLimit::TooFast`].
    pub fn takes(&mut self, bytes: usize) -> Result<(), StreamLimit> {
        let Some(max_ahead) = self.max_ahead else {
            return Ok(());
        };
        self.bytes += bytes as u64;
        let audio = duration_of(self.bytes, self.bytes_per_second);
        if audio > self.began.elapsed() + max_ahead {
            return Err(StreamLimit::TooFast);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(max_ahead: Option<Duration>, handshake: &str) -> Pace {
        let limits = Limits {
            max_ahead,
            ..Limits::default()
        };
        Pace::begin(&limits, Handshake::parse(handshake).ok().as_ref())
    }

    const PCM: &str = r#"{"type":"handshake","sample_rate":16000,"device_id":"d"}"#;
    const SECOND: usize = 32_000;

    #[tokio::test(start_paused = true)]
    async fn audio_may_be_ahead_by_so_much_and_no_more_however_long_it_goes_on() {
        let mut pace = pace(Some(Duration::from_secs(10)), PCM);
        pace.takes(10 * SECOND).unwrap();
        for _ in 0..100 {
            assert_eq!(pace.takes(0), Ok(()));
            tokio::time::advance(Duration::from_secs(1)).await;
            pace.takes(SECOND).unwrap();
        }
        assert_eq!(pace.takes(SECOND / 10), Err(StreamLimit::TooFast));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_s_worth_may_come_at_once_and_then_only_as_much_as_the_rate() {
        let limits = Limits {
            max_rate: Some(1000),
            ..Limits::default()
        };
        let mut pace = Pace::begin(&limits, None);
        let began = Instant::now();
        pace.spend(1000);
        assert!(!pace.rests());
        pace.spend(500);
        assert!(pace.rests());
        assert_eq!(pace.rests_until(), Some(began + Duration::from_millis(500)));
        tokio::time::advance(Duration::from_millis(499)).await;
        assert!(pace.rests());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!pace.rests());
        // Whoever is silent saves no more than a second's worth.
        tokio::time::advance(Duration::from_secs(60)).await;
        pace.spend(1001);
        assert!(pace.rests());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nobody_rests() {
        let limits = Limits {
            max_rate: None,
            ..Limits::default()
        };
        let mut pace = Pace::begin(&limits, None);
        pace.spend(usize::MAX);
        assert!(!pace.rests());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_too_fast_without_a_limit_or_without_a_rate() {
        let opus = PCM.replace("\"device_id\"", "\"codec\":\"opus\",\"device_id\"");
        for (max_ahead, handshake) in [(None, PCM), (Some(Duration::ZERO), &*opus)] {
            pace(max_ahead, handshake).takes(1 << 30).unwrap();
        }
    }
}
