//! Quarantine: a policy that keeps breaking is left alone for a while, so that it does not cost
//! every connection its whole time limit.
//!
//! Quarantine is one more way to fail, and means what every failure of the policy means: where it
//! fails closed the connection is refused. So it must never be one client's doing. It begins when
//! the calls of so many *different clients* have failed one after the other, and nobody else had an
//! answer in between. A client counts once, however many connections it opens and whatever it sends
//! on them; [`Client`] says how clients are told apart. One good answer starts the count again.
//!
//! An operator may begin and end one by hand: it then lasts until it is ended so.
//!
//! When the time is over, one call after the other finds out how the policy is, each for another
//! client. A client whose call fails then, or is its own fault, is not asked for again, so that it
//! cannot keep the policy away either.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::settings::Quarantine;
use crate::verdict::{Failure, Verdict};
use base::metrics;
use session::registry::Client;

/// Counts the failures of one policy.
pub struct Breaker {
    policy: Arc<str>,
    quarantine: Quarantine,
    state: Mutex<Condition>,
}

enum Condition {
    /// It is asked.
    Well {
        /// The clients whose calls failed since it last answered.
        failed: Vec<Client>,
    },
    /// It is not, until then.
    Away { until: Instant },
    /// It is not, until an operator releases it.
    Held,
    /// The time is over.
    Probed(Probes),
}

/// Whether a policy is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// It is called.
    InUse,
    /// It is not called for a while, because it kept failing.
    Quarantined,
    /// It is not called until an operator releases it.
    HeldByOperator,
    /// Its quarantine is over, and one call at a time finds out how it is.
    Probed,
}

impl BreakerState {
    /// Name on the admin listener.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::InUse => "in-use",
            Self::Quarantined => "quarantined",
            Self::HeldByOperator => "quarantined-by-operator",
            Self::Probed => "probed",
        }
    }
}

/// How finding out goes.
struct Probes {
    /// A call is under way; others are not made.
    under_way: bool,
    /// The clients whose calls failed.
    failed: Vec<Client>,
    /// Clients whose calls said nothing about the policy, the last ones.
    excused: VecDeque<Client>,
}

/// Clients that are remembered whose probes said nothing.
const MAX_EXCUSED: usize = 64;

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
            state: Mutex::new(Condition::Well { failed: Vec::new() }),
        }
    }

    /// Asks whether a call may be made for this client now.
    ///
    /// # Errors
    /// [`Failure::Quarantined`]
    pub fn enter(&self, client: impl FnOnce() -> Client) -> Result<Try<'_>, Failure> {
        let mut state = self.lock();
        let kind = match &mut *state {
            Condition::Well { .. } => Kind::Ordinary,
            Condition::Away { until } if Instant::now() >= *until => {
                *state = Condition::Probed(Probes {
                    under_way: true,
                    failed: Vec::new(),
                    excused: VecDeque::new(),
                });
                Kind::Probe
            }
            Condition::Probed(probes) if !probes.under_way && probes.may_be_for(client()) => {
                probes.under_way = true;
                Kind::Probe
            }
            Condition::Away { .. } | Condition::Held | Condition::Probed(_) => {
                return Err(Failure::Quarantined);
            }
        };
        Ok(Try {
            breaker: self,
            kind,
        })
    }

    /// Whether the policy is called now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match *self.lock() {
            Condition::Well { .. } => BreakerState::InUse,
            Condition::Away { .. } => BreakerState::Quarantined,
            Condition::Held => BreakerState::HeldByOperator,
            Condition::Probed(_) => BreakerState::Probed,
        }
    }

    /// Stops the calls until [`Breaker::release`].
    pub(crate) fn hold(&self) {
        let mut state = self.lock();
        if !matches!(*state, Condition::Held) {
            *state = Condition::Held;
            drop(state);
            metrics::quarantined(&self.policy);
        }
    }

    /// Ends a quarantine, whoever began it.
    pub(crate) fn release(&self) {
        *self.lock() = Condition::Well { failed: Vec::new() };
    }

    fn failed(&self, kind: Kind, client: Client, failure: &Failure) {
        let Quarantine { after, lasts } = self.quarantine;
        if lasts.is_zero() {
            return;
        }
        let mut state = self.lock();
        let failed = match &mut *state {
            Condition::Well { failed } => failed,
            Condition::Probed(probes) if kind == Kind::Probe => {
                probes.under_way = false;
                &mut probes.failed
            }
            // A call that began before the quarantine did.
            Condition::Probed(_) | Condition::Away { .. } | Condition::Held => return,
        };
        if !failed.contains(&client) {
            failed.push(client);
        }
        let clients = failed.len();
        if clients >= after {
            *state = Condition::Away {
                until: Instant::now() + lasts,
            };
            drop(state);
            metrics::quarantined(&self.policy);
            tracing::warn!(
                policy = &*self.policy,
                ?lasts,
                clients,
                cause = %failure,
                "quarantined: it fails for one client after the other"
            );
        }
    }

    fn answered(&self, kind: Kind) {
        let mut state = self.lock();
        match &mut *state {
            Condition::Well { failed } => failed.clear(),
            Condition::Probed(_) if kind == Kind::Probe => {
                *state = Condition::Well { failed: Vec::new() };
                drop(state);
                tracing::info!(policy = &*self.policy, "out of quarantine: it answered");
            }
            Condition::Probed(_) | Condition::Away { .. } | Condition::Held => {}
        }
    }

    /// The call was ended by what its client sent.
    fn excused(&self, kind: Kind, client: impl FnOnce() -> Client) {
        if kind == Kind::Ordinary {
            return;
        }
        if let Condition::Probed(probes) = &mut *self.lock() {
            probes.under_way = false;
            if probes.excused.len() >= MAX_EXCUSED {
                probes.excused.pop_front();
            }
            probes.excused.push_back(client());
        }
    }

    // No state is half changed, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, Condition> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probes {
    fn may_be_for(&self, client: Client) -> bool {
        !self.failed.contains(&client) && !self.excused.contains(&client)
    }
}

impl Try<'_> {
    /// Says what came of the call for this client. That there was no room for
    /// it is not the policy's fault.
    pub fn report(self, verdict: &Verdict, client: impl FnOnce() -> Client) {
        match verdict {
            Verdict::Accept | Verdict::Reject(_) | Verdict::KeysUnavailable(_) => {
                self.breaker.answered(self.kind);
            }
            // The decision did not run, so nothing is known of it: neither a failure nor an answer.
            Verdict::Unanswered(_) | Verdict::ClientFault(_) => {
                self.breaker.excused(self.kind, client);
            }
            Verdict::Failed(failure @ (Failure::Trap(_) | Failure::Limit(_))) => {
                self.breaker.failed(self.kind, client(), failure);
            }
            Verdict::Failed(Failure::Busy | Failure::Quarantined) => {}
        }
    }
}

impl Drop for Try<'_> {
    /// A probe that nobody waited for is made again.
    fn drop(&mut self) {
        if self.kind == Kind::Probe
            && let Condition::Probed(probes) = &mut *self.breaker.lock()
        {
            probes.under_way = false;
        }
    }
}

#[cfg(test)]
mod tests;
