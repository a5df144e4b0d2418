//! What a policy's calls were like lately, which says where the next is made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Failure, Limit};

/// How much of a core a call may have before it is one that takes long. Ten times what a decision of a policy in Rust takes,
/// half of what one in JavaScript does, and about what relaying a few dozen messages costs.
pub(super) const QUICK: Duration = Duration::from_micros(250);
/// How much no decision needs. One in Python takes a sixth of it.
const TOO_MUCH: Duration = Duration::from_millis(10);
/// Offences in a row that make an offender. As with the quarantine, one good answer starts the count again: a client that
/// makes its own calls long does no harm to others of the same policy.
const OFFENCES: u32 = 3;
/// How long a grade lasts.
const LASTS: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Pace {
    policy: Arc<str>,
    lately: Mutex<Lately>,
}

#[derive(Default)]
struct Lately {
    slow_until: Option<Instant>,
    offences: u32,
    offender_until: Option<Instant>,
}

/// What is to be expected of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grade {
    /// Microseconds.
    Quick,
    /// A fraction of a millisecond, or some.
    Slow,
    /// That it uses up what it gets, for nothing.
    Offender,
}

impl Pace {
    /// Of a policy of which nothing is known yet.
    pub(super) fn of(policy: Arc<str>) -> Self {
        Self {
            policy,
            lately: Mutex::default(),
        }
    }

    /// What is to be expected of the next call.
    pub(super) fn grade(&self) -> Grade {
        let lately = self.lock();
        let is_ahead = |until: Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        if is_ahead(lately.offender_until) {
            Grade::Offender
        } else if is_ahead(lately.slow_until) {
            Grade::Slow
        } else {
            Grade::Quick
        }
    }

    /// Takes note of a call: what it had of a core, and what came of it.
    pub(super) fn learn<T>(&self, had: Duration, result: &Result<T, Failure>) {
        let mut lately = self.lock();
        let until = Some(Instant::now() + LASTS);
        if had >= QUICK {
            lately.slow_until = until;
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
                    lately.offender_until = until;
                }
                if lately.offences == OFFENCES {
                    drop(lately);
                    tracing::warn!(
                        policy = &*self.policy,
                        "its calls use up time and come to nothing: they get the cores that nobody else wants"
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

    #[tokio::test(start_paused = true)]
    async fn a_policy_that_took_long_is_slow_for_a_while() {
        let pace = Pace::of("p".into());
        pace.learn(QUICK / 2, &ANSWERED);
        assert_eq!(pace.grade(), Grade::Quick);
        pace.learn(QUICK, &ANSWERED);
        pace.learn(QUICK / 2, &ANSWERED);
        assert_eq!(pace.grade(), Grade::Slow);
        advance(LASTS).await;
        assert_eq!(pace.grade(), Grade::Quick);
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
        assert_eq!(pace.grade(), Grade::Quick);
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
            assert_eq!(pace.grade(), Grade::Slow);
        }
    }
}
