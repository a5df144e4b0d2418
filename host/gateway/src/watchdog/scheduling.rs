//! What the kernel has given a thread, by proc(5): a thread that waits for a processor is not stuck.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A thread's folder below `/proc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread(PathBuf);

/// What a thread has had since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduling {
    state: State,
    /// Time on a processor.
    ran: Duration,
    /// Time that it could have run, and had no processor.
    queued: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It runs, or waits for a processor.
    Runnable,
    /// It waits for something else.
    Waiting,
}

impl Thread {
    /// The thread that calls this.
    pub fn current() -> Self {
        let own = std::fs::read_link("/proc/thread-self").unwrap_or_default();
        Self(Path::new("/proc").join(own))
    }

    /// `None` if the kernel does not say.
    pub(crate) fn scheduling(&self) -> Option<Scheduling> {
        let of = |name| std::fs::read_to_string(self.0.join(name)).ok();
        parse(&of("stat")?, &of("schedstat")?)
    }
}

fn parse(stat: &str, schedstat: &str) -> Option<Scheduling> {
    // The name before it is in brackets, and may contain any character.
    let (_, after_name) = stat.rsplit_once(')')?;
    let state = match after_name.split_whitespace().next()? {
        "R" => State::Runnable,
        _ => State::Waiting,
    };
    let mut times = schedstat.split_whitespace();
    let mut time = || Some(Duration::from_nanos(times.next()?.parse().ok()?));
    Some(Scheduling {
        state,
        ran: time()?,
        queued: time()?,
    })
}

impl Scheduling {
    /// How much of the time since `earlier` the thread has taken by itself.
    ///
    /// The kernel counts the time in the queue once it is over. So of a thread that is runnable only
    /// the time on a processor is certain.
    pub(crate) fn own_time(&self, earlier: &Self, passed: Duration) -> Duration {
        match self.state {
            State::Runnable => self.ran.saturating_sub(earlier.ran).min(passed),
            State::Waiting => passed.saturating_sub(self.queued.saturating_sub(earlier.queued)),
        }
    }
}

#[cfg(test)]
impl Thread {
    /// A thread that is not there.
    pub fn numbered(number: u32) -> Self {
        Self(PathBuf::from(number.to_string()))
    }
}

#[cfg(test)]
impl Scheduling {
    /// A thread that waits for a disk, and was without a processor for so long.
    pub(crate) const fn queued_for(queued: Duration) -> Self {
        Self {
            state: State::Waiting,
            ran: Duration::ZERO,
            queued,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn had(state: State, ran: u64, queued: u64) -> Scheduling {
        Scheduling {
            state,
            ran: Duration::from_millis(ran),
            queued: Duration::from_millis(queued),
        }
    }

    #[test]
    fn a_thread_without_a_processor_takes_no_time() {
        let begun = had(State::Runnable, 10, 5);
        let own = |now: Scheduling| now.own_time(&begun, Duration::from_millis(600)).as_millis();
        assert_eq!(own(had(State::Runnable, 10, 5)), 0, "still in the queue");
        assert_eq!(own(had(State::Waiting, 20, 595)), 10, "it was in the queue");
        assert_eq!(own(had(State::Runnable, 590, 5)), 580, "it computes");
        assert_eq!(own(had(State::Waiting, 10, 5)), 600, "it waits for a disk");
    }

    #[test]
    fn the_kernel_says_what_the_own_thread_has_had() {
        let had = Thread::current().scheduling().expect("Linux says");
        assert_eq!(had.state, State::Runnable);
        let parsed = parse("7 (a) R b) D 1 2", "5000000 6000000 7").unwrap();
        assert_eq!(parsed, super::tests::had(State::Waiting, 5, 6));
        assert_eq!(parse("7 (a) R 1", ""), None);
    }
}
