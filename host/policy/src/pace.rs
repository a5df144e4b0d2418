//! What a policy's latest calls took, which decides where its next call runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::budget::TICK;
use crate::verdict::{Failure, Limit, Verdict};
use session::registry::Client;

/// How much of a core a call may have before it is one that takes long. Ten times what a decision
/// of a policy in Rust takes, half of what one in JavaScript does, and about what relaying a few
/// dozen messages costs.
pub(super) const QUICK: Duration = Duration::from_micros(250);
/// More CPU time than the first poll of a call can measure by mistake.
///
/// The first poll is measured by the wall clock, so a preemption, an interrupt or a cold page
/// counts as the call's own time. But a running guest is interrupted within two ticks.
const CERTAINLY_LONG: Duration = TICK.saturating_mul(3);
/// How much no decision needs. One in Python takes a sixth of it.
const TOO_MUCH: Duration = Duration::from_millis(10);
/// Offences in a row of one client's calls, after which that client's calls are made as those of an
/// offender.
const OFFENCES: u32 = 3;
/// Different clients in a row whose calls are offences, after which all calls are. One good answer
/// starts the count again: what a client does to its own calls is no reason to make those of others
/// wait.
const CLIENTS: usize = 5;
/// Clients that are remembered; the one whose offence is the oldest is forgotten.
const MAX_CLIENTS: usize = 16;
/// How long an offender, or a policy with a call that was certainly long, stays one.
const LASTS: Duration = Duration::from_secs(10);

/// What one long call adds to a policy's [`Habit`]. A quick one takes 1 away, so that long calls
/// count when they are more than one in five.
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
    /// In the order of their last offences.
    clients: VecDeque<Offences>,
    /// Different clients in a row whose calls were offences.
    row: Vec<Client>,
    offender_until: Option<Instant>,
}

/// What the calls of one client were.
struct Offences {
    client: Client,
    number: u32,
    until: Instant,
}

/// What is usual for a policy: a leaky count of its long calls.
///
/// One late call in a thousand is an accident of the machine's, and at thousands of calls a second
/// there is always one that is recent. So no single call makes a policy slow, and a slow policy
/// becomes quick by its calls, not by time.
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
        // Between the two marks it stays what it was, so that a policy on the edge does not change
        // threads at each call.
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

    /// The expected length of the next call for this client.
    pub(super) fn grade(&self, client: impl FnOnce() -> Option<Client>) -> Grade {
        let lately = self.lock();
        let is_ahead = |until: Option<Instant>| until.is_some_and(|until| Instant::now() < until);
        if is_ahead(lately.offender_until) || lately.makes_offences(client) {
            Grade::Offender
        } else if lately.habit.is == Usually::Slow || is_ahead(lately.slow_until) {
            Grade::Slow
        } else {
            Grade::Quick
        }
    }

    /// Takes note of a call for this client: what it had of a core, and what came of it.
    pub(super) fn learn(
        &self,
        client: impl FnOnce() -> Option<Client>,
        had: Duration,
        verdict: &Verdict,
    ) {
        let mut lately = self.lock();
        lately.habit.learn(had);
        let until = || Instant::now() + LASTS;
        if had >= CERTAINLY_LONG {
            lately.slow_until = Some(until());
        }
        match verdict {
            Verdict::Accept
            | Verdict::Reject(_)
            | Verdict::KeysUnavailable(_)
            | Verdict::Unanswered(_)
                if had < TOO_MUCH =>
            {
                lately.row.clear();
                lately.offender_until = None;
                if !lately.clients.is_empty() {
                    let client = client();
                    lately.clients.retain(|it| Some(it.client) != client);
                }
            }
            // It may be that there was no core for it.
            Verdict::Failed(Failure::Limit(Limit::Time(_) | Limit::Start(_))) if had < TOO_MUCH => {
            }
            Verdict::Failed(_) | Verdict::ClientFault(_) if had < QUICK => {}
            _ => {
                let Some(client) = client() else { return };
                lately.offence(client, until());
                if lately.row.len() < CLIENTS {
                    return;
                }
                if lately.offender_until.replace(until()).is_none() {
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

impl Lately {
    fn makes_offences(&self, client: impl FnOnce() -> Option<Client>) -> bool {
        // The usual case, and the one that must cost nothing.
        if self.clients.is_empty() {
            return false;
        }
        let client = client();
        let known = self.clients.iter().find(|it| Some(it.client) == client);
        known.is_some_and(|it| it.number >= OFFENCES && Instant::now() < it.until)
    }

    fn offence(&mut self, client: Client, until: Instant) {
        let place = self.clients.iter().position(|it| it.client == client);
        let before = place.and_then(|place| self.clients.remove(place));
        let number = before
            .filter(|it| Instant::now() < it.until)
            .map_or(0, |it| it.number);
        if self.clients.len() >= MAX_CLIENTS {
            self.clients.pop_front();
        }
        self.clients.push_back(Offences {
            client,
            number: number + 1,
            until,
        });
        if self.row.len() < CLIENTS && !self.row.contains(&client) {
            self.row.push(client);
        }
    }
}

#[cfg(test)]
mod tests;
