//! How often a console is told what has changed.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Pace of what one console is told. Making it takes at most one part in [`SHARE`] of the time, so a
/// console takes at most 2 % of a core, however many sessions there are.
#[derive(Debug)]
pub(super) struct Pace {
    period: Duration,
    next: Instant,
    began: Instant,
}

/// For two paces at once: snapshots and levels.
const SHARE: u32 = 100;

impl Pace {
    /// The first is due at once, and the others after at least this time.
    pub(super) fn of(period: Duration) -> Self {
        let now = Instant::now();
        Self {
            period,
            next: now,
            began: now,
        }
    }

    /// Waits until the next is due. A console that was late is not owed the ones that it has missed.
    pub(super) async fn due(&mut self) {
        sleep_until(self.next).await;
        self.began = Instant::now();
    }

    /// It has been made.
    pub(super) fn made(&mut self) {
        let took = self.began.elapsed();
        self.next = self.began + self.period.max(took * SHARE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_that_takes_long_comes_less_often() {
        let mut pace = Pace::of(PERIOD);
        let mut waits = Vec::new();
        for took in [0, 10, 100, 0] {
            let asked = Instant::now();
            pace.due().await;
            waits.push(asked.elapsed().as_millis());
            tokio::time::sleep(Duration::from_millis(took)).await;
            pace.made();
        }
        assert_eq!(waits, [0, 1000, 990, 9900]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_console_that_was_late_gets_one_snapshot_and_not_all_that_it_missed() {
        let mut pace = Pace::of(PERIOD);
        pace.due().await;
        pace.made();
        tokio::time::sleep(60 * PERIOD).await;
        let asked = Instant::now();
        pace.due().await;
        pace.made();
        pace.due().await;
        assert_eq!(asked.elapsed(), PERIOD);
    }
}
