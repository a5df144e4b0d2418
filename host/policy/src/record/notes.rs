//! Taking down what a policy asks the gateway, and what it is told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::{Change, CounterError, Fault, HostAnswer, HostCall, RecordedAnswer, RecordedHolder};
use crate::amendment::Amendment;
use crate::bindings::sluice::policy::log::Level;
use crate::counters;
use crate::destinations::{Answered, Asking, Misuse, Request};
use crate::effects::Effects;
use crate::verdict::Verdict;
use crate::world::{Seen, World};
use base::rejection::Rejection;
use keys::{Claims, TokenError};
use session::registry::{self, ClaimError, Session};

mod counted;

use counted::Counted;

/// Calls that are kept of one decision, and bytes of memory for what is in
/// them. A guest decides how often it asks; what that costs is bounded.
const MAX_CALLS: usize = 128;
const MAX_BYTES: usize = 32 * 1024;

/// The notes of one decision. Nothing is taken down where nobody records.
#[derive(Clone, Default)]
pub struct Notes {
    taken: Option<Arc<Mutex<Taken>>>,
    /// What the call counted, if it may have to be undone.
    counted: Option<Arc<Counted>>,
    /// What the policy said beside its answer, if that may take effect.
    effects: Option<Arc<Mutex<Effects>>>,
}

/// What was taken down.
#[derive(Debug, Default)]
pub struct Taken {
    /// The calls, in order.
    pub calls: Vec<HostCall>,
    /// How many came after these. Once one was too much all are, so that what
    /// is kept is the beginning and has no hole in it.
    pub left_out: u64,
    bytes: usize,
}

impl Taken {
    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + size_of_val(&*self.calls)
    }
}

impl Notes {
    /// Notes that are taken.
    #[must_use]
    pub fn kept() -> Self {
        Self {
            taken: Some(Arc::default()),
            ..Self::default()
        }
    }

    /// Notes that nobody wants.
    #[must_use]
    pub(crate) fn unwanted() -> Self {
        Self::default()
    }

    /// The same, of a call that may have to be undone.
    #[must_use]
    pub(crate) fn undoable(self) -> Self {
        Self {
            counted: Some(Arc::default()),
            ..self
        }
    }

    /// The same, of a call that may say something beside its answer which takes effect.
    #[must_use]
    pub(crate) fn with_effects(self) -> Self {
        Self {
            effects: Some(Arc::default()),
            ..self
        }
    }

    /// What the policy said beside its answer.
    pub(crate) fn said(&self, effects: Effects) {
        if let Some(taken) = &self.taken {
            note_effects(taken, &effects);
        }
        if let Some(said) = &self.effects {
            *said.lock().unwrap_or_else(PoisonError::into_inner) = effects;
        }
    }

    /// Lets what the policy said beside its answer take effect.
    pub(crate) fn take_effect(&self, policy: &str, session: &Session, verdict: &Verdict) {
        if let Some(said) = &self.effects {
            let said = std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner));
            if !said.is_empty() {
                said.take_effect(policy, session, verdict);
            }
        }
    }

    /// Takes back what the call counted.
    pub(crate) fn take_back(&self) {
        if let Some(counted) = &self.counted {
            counted.take_back();
        }
    }

    /// `world`, with what is asked of it taken down.
    #[must_use]
    pub fn of(&self, world: &Arc<dyn World>) -> Arc<dyn World> {
        let world = match &self.counted {
            None => Arc::clone(world),
            Some(counted) => counted.of(world),
        };
        match &self.taken {
            None => world,
            Some(notes) => Arc::new(Noting {
                world,
                notes: Arc::clone(notes),
            }),
        }
    }

    /// What was taken down until now.
    #[must_use]
    pub fn take(&self) -> Taken {
        self.taken.as_ref().map_or_else(Taken::default, |notes| {
            std::mem::take(&mut notes.lock().unwrap_or_else(PoisonError::into_inner))
        })
    }
}

struct Noting {
    world: Arc<dyn World>,
    notes: Arc<Mutex<Taken>>,
}

impl Noting {
    fn note(&self, bytes: usize, call: impl FnOnce() -> HostCall) {
        note(&self.notes, bytes, call);
    }
}

/// Takes a call down. `bytes` is about what it takes; nothing is copied for one that there is no room
/// for.
fn note(notes: &Mutex<Taken>, bytes: usize, call: impl FnOnce() -> HostCall) {
    let mut taken = notes.lock().unwrap_or_else(PoisonError::into_inner);
    let together = taken.bytes.saturating_add(bytes);
    if taken.left_out > 0 || taken.calls.len() >= MAX_CALLS || together > MAX_BYTES {
        taken.left_out += 1;
        return;
    }
    taken.bytes = together;
    taken.calls.push(call());
}

/// Takes down what a policy said beside its answer. A call may say little enough that there is always
/// room for it, however much the policy has asked.
fn note_effects(notes: &Mutex<Taken>, effects: &Effects) {
    let notices = effects.notices.iter().map(|notice| {
        let bytes = notice.code.len() + notice.message.len();
        let call = HostCall::Notice {
            code: notice.code.clone(),
            message: notice.message.clone(),
        };
        (bytes, call)
    });
    let counts = effects.counts.iter().map(|count| {
        let call = HostCall::Metric {
            name: count.name.clone(),
            label: count.label.clone(),
            amount: count.amount,
        };
        (count.name.len() + count.label.len(), call)
    });
    let mut taken = notes.lock().unwrap_or_else(PoisonError::into_inner);
    for (bytes, call) in notices.chain(counts) {
        taken.bytes = taken.bytes.saturating_add(bytes);
        taken.calls.push(call);
    }
}

impl World for Noting {
    fn now_ms(&self) -> u64 {
        let answer = self.world.now_ms();
        self.note(0, || HostCall::NowMs { answer });
        answer
    }

    fn monotonic_ns(&self, began: Instant) -> u64 {
        let answer = self.world.monotonic_ns(began);
        self.note(0, || HostCall::MonotonicNs { answer });
        answer
    }

    fn verify(&self, session: &Session, key_set: &str) -> Option<Result<Claims, TokenError>> {
        let verified = self.world.verify(session, key_set);
        let claims = verified
            .as_ref()
            .and_then(|verified| verified.as_ref().ok());
        let bytes = claims.map_or(0, |claims| weight(claims.value()));
        self.note(key_set.len() + bytes, || HostCall::Verify {
            key_set: key_set.to_owned(),
            answer: match &verified {
                Some(Ok(claims)) => HostAnswer::Ok(claims.value().clone()),
                Some(Err(error)) => HostAnswer::Err(*error),
                None => HostAnswer::Trap(Fault::NoKeySet),
            },
        });
        verified
    }

    fn claim(&self, session: &Arc<Session>, key: &str) -> Result<(), ClaimError> {
        let claimed = self.world.claim(session, key);
        self.note(key.len() + told(&claimed), || HostCall::Claim {
            key: key.to_owned(),
            answer: HostAnswer::from(&claimed),
        });
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
        let bytes = key.len() + holder.len() + told(&evicted);
        self.note(bytes, || HostCall::Evict {
            key: key.to_owned(),
            holder: holder.to_owned(),
            answer: HostAnswer::from(&evicted),
        });
        evicted
    }

    fn count(
        &self,
        account: counters::Account<'_>,
        key: &str,
        change: counters::Change,
    ) -> Result<i64, counters::CounterError> {
        let counted = self.world.count(account, key, change);
        self.note(key.len(), || HostCall::Count {
            key: key.to_owned(),
            change: change.into(),
            answer: match counted {
                Ok(value) => HostAnswer::Ok(value),
                Err(error) => HostAnswer::Err(error.into()),
            },
        });
        counted
    }

    fn list_contains(&self, list: &str, entry: &str) -> Option<bool> {
        let found = self.world.list_contains(list, entry);
        self.note(list.len() + entry.len(), || HostCall::ListContains {
            list: list.to_owned(),
            entry: entry.to_owned(),
            answer: found.map_or(HostAnswer::Trap(Fault::NoList), HostAnswer::Ok),
        });
        found
    }

    fn list_get(&self, list: &str, key: &str) -> Option<Option<String>> {
        let value = self.world.list_get(list, key);
        let told = value
            .as_ref()
            .and_then(Option::as_ref)
            .map_or(0, String::len);
        self.note(list.len() + key.len() + told, || HostCall::ListGet {
            list: list.to_owned(),
            entry: key.to_owned(),
            answer: value
                .clone()
                .map_or(HostAnswer::Trap(Fault::NoList), HostAnswer::Ok),
        });
        value
    }

    fn ask<'a>(&'a self, asking: Asking<'a>) -> BoxFuture<'a, Result<Vec<Answered>, Misuse>> {
        async move {
            let answers = self.world.ask(asking).await?;
            for (request, answered) in asking.requests.iter().zip(&answers) {
                self.note(bytes_of(request, answered), || asked(request, answered));
            }
            Ok(answers)
        }
        .boxed()
    }

    fn log(&self, policy: &str, level: Level, line: &str) {
        self.world.log(policy, level, line);
    }

    fn amends(&self, policy: &str, amendment: &Amendment) {
        self.world.amends(policy, amendment);
    }

    fn looked_at(&self, seen: Seen<'_>) {
        self.world.looked_at(seen);
    }
}

/// Bytes of memory that a JSON value takes, about. As text it is a fraction of
/// that where it is a list of small numbers.
fn weight(value: &Value) -> usize {
    let inside: usize = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(members) => {
            let member =
                |(name, value): (&String, &Value)| size_of::<String>() + name.len() + weight(value);
            members.iter().map(member).sum()
        }
    };
    size_of::<Value>() + inside
}

/// Bytes of the texts of a request and its answer.
fn bytes_of(request: &Request, answered: &Answered) -> usize {
    let pairs = request.params.iter().chain(&request.query);
    let pairs: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
    let answer = answered.answer.as_ref();
    request.destination.len()
        + pairs
        + request.body.as_ref().map_or(0, String::len)
        + answer.map_or(0, |answer| answer.body.len())
}

fn asked(request: &Request, answered: &Answered) -> HostCall {
    let Request {
        destination,
        params,
        query,
        body,
    } = request.clone();
    HostCall::Ask {
        destination,
        params,
        query,
        body,
        answer: match &answered.answer {
            Ok(answer) => HostAnswer::Ok(RecordedAnswer {
                status: answer.status,
                body: answer.body.to_string(),
                age_ms: answer.age_ms,
            }),
            Err(error) => HostAnswer::Err(*error),
        },
    }
}

/// Bytes of what a policy is told of the holder of a key.
fn told(result: &Result<(), ClaimError>) -> usize {
    let Err(ClaimError::Held(holder)) = result else {
        return 0;
    };
    let pair =
        |(name, value): &(String, String)| size_of::<(String, String)>() + name.len() + value.len();
    holder.attributes.iter().map(pair).sum()
}

impl From<&Result<(), ClaimError>> for HostAnswer<(), RecordedHolder> {
    fn from(result: &Result<(), ClaimError>) -> Self {
        match result {
            Ok(()) => Self::Ok(()),
            Err(ClaimError::Held(holder)) => Self::Err(holder.into()),
            Err(ClaimError::TooMany) => Self::Trap(Fault::TooMany),
            Err(ClaimError::TooLarge) => Self::Trap(Fault::TooLarge),
            Err(ClaimError::Ended) => Self::Trap(Fault::Ended),
        }
    }
}

impl From<&registry::Holder> for RecordedHolder {
    fn from(holder: &registry::Holder) -> Self {
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

#[cfg(test)]
mod tests;
