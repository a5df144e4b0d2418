//! What a policy's latest calls took, which decides where its next call runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::engine::TICK;
use super::{Failure, Limit};

/// How much of a core a call may have before it is one that takes long. Ten times what a decision of a policy in Rust takes,
/// half of what one in JavaScript does, and about what relaying a few dozen messages costs.
pub(super) const QUICK: Duration = Duration::from_micros(250);
/// More than a first turn can measure by mistake. That turn is measured by the clock on the wall, so a preemption, an
/// interrupt or a cold page counts as the call's own time, but a running guest is interrupted within two ticks.
const CERTAINLY_LONG: Duration = TICK.saturating_mul(3);
/// How much no decision needs. One in Python takes a sixth of it.
const TOO_MUCH: Duration = Duration::from_millis(10);
/// Offences in a row that make an offender. As with the quarantine, one good answer starts the count again: a client that
/// makes its own calls long does no harm to others of the same policy.
const OFFENCES: u32 = 3;
/// How long an offender, or a policy with a call that was certainly long, stays one.
const LASTS: Duration = Duration::from_secs(10);

/// What one long call adds to a policy's [`Habit`]. A quick one takes 1 away, so that long calls count when they are more
/// than one in five.
const LONG_CALL: u32 = 4;
/// The habit at which a policy is slow: four long calls in a row.
const SLOW_FROM: u32 = 4 * LONG_CALL;
/// The largest habit, so that a policy that has become quick is found to be so within 32 calls.
const MOST_SLOW: u32 = 2 * SLOW_FROM;

/// Record of how long a policy's latest calls took.
pub(super) struct Pace {
    policy: Arc<str>,
    lately: Mutex<Lately>,
}

#[derive(Default)]
struct Lately {
    habit: Habit,
    slow_until: Option<Instant>,
    offences: u32,
    offender_until: Option<Instant>,
}

/// What is usual for a policy: a leaky count of its long calls.
///
/// One late call in a thousand is an accident of the machine's, and at thousands of calls a second there is always one
/// that is recent. So no single call makes a policy slow, and a slow policy becomes quick by its calls, not by time.
#[derive(Default)]
struct Habit {
    long_calls: u32,
    is: Usually,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Usually {
    #[default]
    Quick,
    Slow,
}

impl Habit {
    fn learn(&mut self, had: Duration) {
        if had < QUICK {
            self.long_calls = self.long_calls.saturating_sub(1);
        } else {
            self.long_calls = (self.long_calls + LONG_CALL).min(MOST_SLOW);
        }
        // Between the two marks it stays what it was, so that a policy on the edge does not change threads at each call.
        if self.long_calls >= SLOW_FROM {
            self.is = Usually::Slow;
        } else if self.long_calls == 0 {
            self.is = Usually::Quick;
        }
    }
}

/// Expected length of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grade {
    /// Microseconds.
    Quick,
    /// A fraction of a millisecond, or some.
    Slow,
    /// Offender: its calls use their whole time limit and fail.
    Offender,
}

impl Pace {
    /// The record of a policy that was never called.
    pub(super) fn of(policy: Arc<str>) -> Self {
        Self {
            policy,
            lately: Mutex::default(),
        }
    }

    /// The expected length of the next call.
    pub(super) fn grade(&self) -> Grade {
        let lately = self.lock();
        let is_ahead = |until: Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        if is_ahead(lately.offender_until) {
            Grade::Offender
        } else if lately.habit.is == Usually::Slow || is_ahead(lately.slow_until) {
            Grade::Slow
        } else {
            Grade::Quick
        }
    }

    /// Takes note of a call: what it had of a core, and what came of it.
    pub(super) fn learn<T>(&self, had: Duration, result: &Result<T, Failure>) {
        let mut lately = self.lock();
        lately.habit.learn(had);
        let until = || Some(Instant::now() + LASTS);
        if had >= CERTAINLY_LONG {
            lately.slow_until = until();
        }
        match result {
            Ok(_) if had < TOO_MUCH => {
                lately.offences = 0;
                lately.offender_until = None;
            }
            // It may be that there was no core for it.
            Err(Failure::Limit(Limit::Time)) if had < TOO_MUCH => {}
            Err(_) if had < QUICK => {}
            Ok(_) | Err(_) => {
                lately.offences += 1;
                if lately.offences >= OFFENCES {
                    lately.offender_until = until();
                }
                if lately.offences == OFFENCES {
                    drop(lately);
                    tracing::warn!(
                        policy = &*self.policy,
                        "policy keeps using its time and failing; its calls now run at idle priority"
                    );
                }
            }
        }
    }

    // No state is half changed, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, Lately> {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const ANSWERED: Result<(), Failure> = Ok(());
    const LATE: Result<(), Failure> = Err(Failure::Limit(Limit::Time));

    fn trapped() -> Result<(), Failure> {
        Err(Failure::Trap("unreachable".to_owned()))
    }

    /// Long calls in a row that make a policy slow.
    const LONG_CALLS: u32 = SLOW_FROM / LONG_CALL;

    #[test]
    fn a_policy_is_slow_while_most_of_its_calls_are_long() {
        let pace = Pace::of("p".into());
        for _ in 0..LONG_CALLS {
            assert_eq!(pace.grade(), Grade::Quick);
            pace.learn(QUICK, &ANSWERED);
        }
        for _ in 0..1000 {
            pace.learn(QUICK, &ANSWERED);
            assert_eq!(pace.grade(), Grade::Slow);
        }
        for _ in 0..MOST_SLOW {
            assert_eq!(pace.grade(), Grade::Slow);
            pace.learn(QUICK / 2, &ANSWERED);
        }
        assert_eq!(pace.grade(), Grade::Quick);
    }

    #[tokio::test(start_paused = true)]
    async fn one_call_that_was_certainly_long_makes_a_policy_slow_for_a_while() {
        let pace = Pace::of("p".into());
        pace.learn(CERTAINLY_LONG, &ANSWERED);
        pace.learn(QUICK / 2, &ANSWERED);
        assert_eq!(pace.grade(), Grade::Slow);
        advance(LASTS).await;
        pace.learn(QUICK / 2, &ANSWERED);
        assert_eq!(pace.grade(), Grade::Quick);
    }

    /// A thread that is preempted in its first turn is charged for up to two ticks, and its neighbours on the same core with
    /// it, so late calls come in groups.
    #[test]
    fn an_ordinary_policy_keeps_the_fast_path_however_often_its_threads_are_preempted() {
        let pace = Pace::of("p".into());
        let mut random = fastrand::Rng::with_seed(0x51ce);
        let mut late = 0;
        while late < 2000 {
            for _ in 0..random.u32(50..200) {
                pace.learn(QUICK / 10, &ANSWERED);
                assert_eq!(pace.grade(), Grade::Quick);
            }
            for _ in 0..random.u32(1..LONG_CALLS) {
                late += 1;
                pace.learn(random_late(&mut random), &ANSWERED);
                assert_eq!(pace.grade(), Grade::Quick, "after {late} late calls");
            }
        }
    }

    fn random_late(random: &mut fastrand::Rng) -> Duration {
        let most = u64::try_from((2 * TICK).as_micros()).unwrap();
        Duration::from_micros(random.u64(300..=most))
    }

    #[test]
    fn a_policy_that_loops_loses_the_fast_path_with_its_first_call() {
        let pace = Pace::of("p".into());
        for _ in 0..100_000 {
            pace.learn(QUICK / 10, &ANSWERED);
        }
        pace.learn(TOO_MUCH, &LATE);
        assert_eq!(pace.grade(), Grade::Slow);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_only_uses_up_time_is_an_offender_until_it_answers_or_a_while_passed() {
        let pace = Pace::of("p".into());
        for _ in 0..OFFENCES {
            assert_ne!(pace.grade(), Grade::Offender);
            pace.learn(TOO_MUCH, &LATE);
        }
        assert_eq!(pace.grade(), Grade::Offender);
        pace.learn(QUICK, &ANSWERED);
        assert_eq!(pace.grade(), Grade::Slow);
        for _ in 0..OFFENCES {
            pace.learn(QUICK, &trapped());
        }
        assert_eq!(pace.grade(), Grade::Offender);
        advance(LASTS).await;
        assert_eq!(pace.grade(), Grade::Slow);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_client_does_to_its_own_calls_makes_no_offender_while_others_are_answered() {
        let pace = Pace::of("p".into());
        for _ in 0..100 {
            for _ in 1..OFFENCES {
                pace.learn(TOO_MUCH, &LATE);
                assert_eq!(pace.grade(), Grade::Slow);
            }
            pace.learn(QUICK, &ANSWERED);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn to_trap_at_once_or_to_get_no_core_is_no_offence() {
        let pace = Pace::of("p".into());
        for _ in 0..100 {
            pace.learn(QUICK / 2, &trapped());
            assert_eq!(pace.grade(), Grade::Quick);
        }
        for _ in 0..100 {
            pace.learn(QUICK, &LATE);
            assert_ne!(pace.grade(), Grade::Offender);
        }
    }
}
