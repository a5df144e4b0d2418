//! Quarantine: a policy that keeps breaking is left alone for a while, so that
//! it does not cost every connection its whole time limit.
//!
//! Quarantine is one more way to fail, and means what every failure of the
//! policy means: where it fails closed the connection is refused. It begins
//! after failures in a row only; one good answer between them starts the count
//! again, so that a client which makes its own calls fail does not put away a
//! policy that works for everybody else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Failure;
use crate::metrics;

/// When to begin, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantine {
    /// Failures in a row.
    pub after: usize,
    /// How long; zero is never.
    pub lasts: Duration,
}

/// Counts the failures of one policy.
pub struct Breaker {
    policy: Arc<str>,
    quarantine: Quarantine,
    state: Mutex<State>,
}

enum State {
    /// It is asked.
    Well { failures: usize },
    /// It is not, until then.
    Away { until: Instant },
    /// The time is over. One call finds out how it is; the others are not made.
    Probed,
}

/// A call that may be made. Dropping it says nothing about the policy.
pub struct Try<'a> {
    breaker: &'a Breaker,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ordinary,
    Probe,
}

impl Breaker {
    /// For a policy that is well.
    #[must_use]
    pub fn new(policy: Arc<str>, quarantine: Quarantine) -> Self {
        Self {
            policy,
            quarantine,
            state: Mutex::new(State::Well { failures: 0 }),
        }
    }

    /// Asks whether a call may be made now.
    ///
    /// # Errors
    /// [`Failure::Quarantined`]
    pub fn enter(&self) -> Result<Try<'_>, Failure> {
        let mut state = self.lock();
        let kind = match *state {
            State::Well { .. } => Kind::Ordinary,
            State::Away { until } if Instant::now() >= until => {
                *state = State::Probed;
                Kind::Probe
            }
            State::Away { .. } | State::Probed => return Err(Failure::Quarantined),
        };
        Ok(Try {
            breaker: self,
            kind,
        })
    }

    fn failed(&self, kind: Kind) {
        let Quarantine { after, lasts } = self.quarantine;
        let mut state = self.lock();
        let failures = match &mut *state {
            State::Well { failures } => {
                *failures += 1;
                *failures
            }
            State::Probed if kind == Kind::Probe => after,
            // A call that began before the quarantine did.
            State::Probed | State::Away { .. } => return,
        };
        if failures >= after && !lasts.is_zero() {
            *state = State::Away {
                until: Instant::now() + lasts,
            };
            drop(state);
            metrics::quarantined(&self.policy);
            tracing::warn!(
                policy = &*self.policy,
                ?lasts,
                "quarantined: it keeps failing"
            );
        }
    }

    fn answered(&self, kind: Kind) {
        let mut state = self.lock();
        match &mut *state {
            State::Well { failures } => *failures = 0,
            State::Probed if kind == Kind::Probe => {
                *state = State::Well { failures: 0 };
                drop(state);
                tracing::info!(policy = &*self.policy, "out of quarantine: it answered");
            }
            State::Probed | State::Away { .. } => {}
        }
    }

    // No state is half changed, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Try<'_> {
    /// Says what came of the call. That there was no room for it is not the
    /// policy's fault.
    pub fn report<T>(self, result: &Result<T, Failure>) {
        match result {
            Ok(_) => self.breaker.answered(self.kind),
            Err(Failure::Trap(_) | Failure::Limit(_)) => self.breaker.failed(self.kind),
            Err(Failure::Busy | Failure::Quarantined) => {}
        }
    }
}

impl Drop for Try<'_> {
    /// A probe that nobody waited for is made again.
    fn drop(&mut self) {
        if self.kind == Kind::Probe {
            let mut state = self.breaker.lock();
            if matches!(*state, State::Probed) {
                *state = State::Away {
                    until: Instant::now(),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(10);

    fn breaker(lasts: Duration) -> Breaker {
        Breaker::new("p".into(), Quarantine { after: 3, lasts })
    }

    fn call(breaker: &Breaker, result: &Result<(), Failure>) -> Result<(), Failure> {
        breaker.enter().map(|attempt| attempt.report(result))
    }

    fn trap() -> Result<(), Failure> {
        Err(Failure::Trap("unreachable".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_put_it_away_and_one_good_answer_brings_it_back() {
        let breaker = breaker(LASTS);
        for _ in 0..3 {
            call(&breaker, &trap()).unwrap();
        }
        assert_eq!(call(&breaker, &Ok(())), Err(Failure::Quarantined));
        tokio::time::advance(LASTS).await;
        let probe = breaker.enter().unwrap();
        assert_eq!(call(&breaker, &Ok(())), Err(Failure::Quarantined));
        probe.report(&Ok(()));
        for _ in 0..2 {
            call(&breaker, &trap()).unwrap();
        }
        call(&breaker, &Ok(())).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_puts_it_away_again() {
        let breaker = breaker(LASTS);
        for _ in 0..3 {
            call(&breaker, &trap()).unwrap();
        }
        tokio::time::advance(LASTS).await;
        call(&breaker, &trap()).unwrap();
        assert_eq!(call(&breaker, &Ok(())), Err(Failure::Quarantined));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_nobody_waited_for_is_made_again() {
        let breaker = breaker(LASTS);
        for _ in 0..3 {
            call(&breaker, &trap()).unwrap();
        }
        tokio::time::advance(LASTS).await;
        drop(breaker.enter().unwrap());
        call(&breaker, &Ok(())).unwrap();
        call(&breaker, &Ok(())).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn good_answers_between_failures_keep_it_in_use() {
        let breaker = breaker(LASTS);
        for _ in 0..20 {
            call(&breaker, &trap()).unwrap();
            call(&breaker, &trap()).unwrap();
            call(&breaker, &Ok(())).unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_room_is_not_its_fault_and_no_time_is_no_quarantine() {
        let busy = breaker(LASTS);
        let never = breaker(Duration::ZERO);
        for _ in 0..20 {
            call(&busy, &Err(Failure::Busy)).unwrap();
            call(&never, &trap()).unwrap();
        }
    }
}
