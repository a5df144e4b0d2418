//! Taking down what a policy asks the gateway, and what it is told.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Answer, Change, CounterError, Holder, HostCall, Pairs};
use crate::keys::{Claims, TokenError};
use crate::policy::Rejection;
use crate::policy::bindings::sluice::policy::log::Level;
use crate::policy::counters;
use crate::policy::world::World;
use crate::session::{self, ClaimError, Session};

/// Calls that are kept of one decision, and bytes of what is in them. A guest
/// decides how often it asks; what that costs is bounded.
const MAX_CALLS: usize = 128;
const MAX_BYTES: usize = 32 * 1024;

/// The notes of one decision. Nothing is taken down where nobody records.
#[derive(Debug, Clone, Default)]
pub struct Notes(Option<Arc<Mutex<Taken>>>);

/// What was taken down.
#[derive(Debug, Default)]
pub struct Taken {
    /// The calls, in order.
    pub calls: Vec<HostCall>,
    /// How many were too many.
    pub left_out: u64,
    bytes: usize,
}

impl Notes {
    /// Notes that are taken.
    #[must_use]
    pub fn kept() -> Self {
        Self(Some(Arc::default()))
    }

    /// Notes that nobody wants.
    #[must_use]
    pub fn unwanted() -> Self {
        Self(None)
    }

    /// `world`, with what is asked of it taken down.
    #[must_use]
    pub fn of(&self, world: &Arc<dyn World>) -> Arc<dyn World> {
        match &self.0 {
            None => Arc::clone(world),
            Some(notes) => Arc::new(Noting {
                world: Arc::clone(world),
                notes: Arc::clone(notes),
            }),
        }
    }

    /// What was taken down until now.
    #[must_use]
    pub fn take(&self) -> Taken {
        self.0.as_ref().map_or_else(Taken::default, |notes| {
            std::mem::take(&mut notes.lock().unwrap_or_else(PoisonError::into_inner))
        })
    }
}

struct Noting {
    world: Arc<dyn World>,
    notes: Arc<Mutex<Taken>>,
}

impl Noting {
    /// `bytes` is about what the call's texts come to.
    fn note(&self, bytes: usize, call: impl FnOnce() -> HostCall) {
        let mut taken = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.calls.len() >= MAX_CALLS || taken.bytes + bytes > MAX_BYTES {
            taken.left_out += 1;
            return;
        }
        taken.bytes += bytes;
        taken.calls.push(call());
    }
}

impl World for Noting {
    fn now_ms(&self) -> u64 {
        let answer = self.world.now_ms();
        self.note(0, || HostCall::NowMs { answer });
        answer
    }

    fn verify(&self, session: &Session, key_set: &str) -> Option<Result<Claims, TokenError>> {
        let verified = self.world.verify(session, key_set)?;
        let answer = match &verified {
            Ok(claims) => Answer::Ok(claims.value().clone()),
            Err(error) => Answer::Err(*error),
        };
        // The claims of a token are no longer than a request's head.
        self.note(key_set.len(), || HostCall::Verify {
            key_set: key_set.to_owned(),
            answer,
        });
        Some(verified)
    }

    fn claim(&self, session: &Arc<Session>, key: &str) -> Result<(), ClaimError> {
        let claimed = self.world.claim(session, key);
        if let Some((bytes, answer)) = held(&claimed) {
            self.note(key.len() + bytes, || HostCall::Claim {
                key: key.to_owned(),
                answer,
            });
        }
        claimed
    }

    fn evict(
        &self,
        session: &Arc<Session>,
        key: &str,
        holder: &str,
        notice: Rejection,
    ) -> Result<(), ClaimError> {
        let evicted = self.world.evict(session, key, holder, notice);
        if let Some((bytes, answer)) = held(&evicted) {
            self.note(key.len() + holder.len() + bytes, || HostCall::Evict {
                key: key.to_owned(),
                holder: holder.to_owned(),
                answer,
            });
        }
        evicted
    }

    fn count(
        &self,
        policy: &str,
        room: usize,
        key: &str,
        change: counters::Change,
    ) -> Result<i64, counters::CounterError> {
        let counted = self.world.count(policy, room, key, change);
        self.note(key.len(), || HostCall::Count {
            key: key.to_owned(),
            change: change.into(),
            answer: match counted {
                Ok(value) => Answer::Ok(value),
                Err(error) => Answer::Err(error.into()),
            },
        });
        counted
    }

    fn log(&self, policy: &str, level: Level, line: &str) {
        self.world.log(policy, level, line);
    }
}

/// What is answered; nothing where the guest traps instead.
fn held(result: &Result<(), ClaimError>) -> Option<(usize, Answer<(), Holder>)> {
    match result {
        Ok(()) => Some((0, Answer::Ok(()))),
        Err(ClaimError::Held(holder)) => {
            let bytes: fn(&Pairs) -> usize = |pairs| {
                pairs
                    .iter()
                    .map(|(name, value)| name.len() + value.len())
                    .sum()
            };
            Some((bytes(&holder.attributes), Answer::Err(holder.into())))
        }
        Err(ClaimError::TooMany | ClaimError::TooLarge | ClaimError::Ended) => None,
    }
}

impl From<&session::Holder> for Holder {
    fn from(holder: &session::Holder) -> Self {
        Self {
            session_id: holder.session_id.clone(),
            since_ms: holder.since_ms,
            attributes: holder.attributes.clone(),
        }
    }
}

impl From<counters::Change> for Change {
    fn from(change: counters::Change) -> Self {
        let ms = |life: std::time::Duration| u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        match change {
            counters::Change::None => Self::None,
            counters::Change::Add { amount, life } => Self::Add {
                amount,
                life_ms: ms(life),
            },
            counters::Change::Replace { value, life } => Self::Replace {
                value,
                life_ms: ms(life),
            },
        }
    }
}

impl From<counters::CounterError> for CounterError {
    fn from(error: counters::CounterError) -> Self {
        match error {
            counters::CounterError::Full => Self::Full,
            counters::CounterError::TooLarge => Self::TooLarge,
        }
    }
}
