//! The world of a decision that was made before: it answers what it answered
//! then.
//!
//! A call gets the first answer that is left of the same call with the same
//! arguments. What else was done to the same key before that answer must have
//! been done again by then, as the answer depends on it; calls about other
//! things may come in another order. What has no answer gets none that counts:
//! the world remembers that there was a gap, whatever the policy goes on to
//! say.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use serde_json::Value;

use crate::fixture::answers::shown;
use base::credentials::HIDDEN;
use base::rejection::Rejection;
use base::text;
use keys::{Claims, TokenError};
use policy::Hook;
use policy::bindings::sluice::policy::log::Level;
use policy::counters::{self, Change};
use policy::destinations::settings::OnUnanswered;
use policy::destinations::{Answer, AnswerError, Answered, Asking, Misuse, Request};
use policy::record::{self, Fault, HostAnswer, HostCall, Line, RecordedAnswer};
use policy::world::{Seen, World};
use session::registry::{self, ClaimError, Session};

/// What a record does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Gap {
    /// A value of which only that it was there is recorded.
    #[error("it looks at what is withheld: {0}")]
    Withheld(String),
    /// What messages had in them.
    #[error("it looks at the payload of messages, which is not recorded")]
    Payload,
    /// A call that was not made, or not with these arguments, or not now.
    #[error("it calls {0}, which is not recorded")]
    Call(String),
    /// A call that may have been made.
    #[error("it calls {0}, and the record has left out {1} calls")]
    LeftOut(String, u64),
    /// An answer that nobody gives.
    #[error("it calls {0}, and the answer that is recorded is none")]
    Answer(String),
    /// The connection.
    #[error("the record has not enough of the connection: {0}")]
    Connection(String),
    /// The component.
    #[error("the component has no {}", .0.name())]
    NoHook(Hook),
}

/// World of a decision that was made before.
#[derive(Default)]
pub(super) struct Past(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Those that have not been made again, in order.
    calls: Vec<HostCall>,
    left_out: u64,
    gap: Option<Gap>,
    /// Options that the policy looks at.
    options: BTreeSet<String>,
}

impl Past {
    /// The world of one line.
    pub(super) fn of(line: &Line) -> Self {
        Self(Mutex::new(Inner {
            calls: line.calls.clone(),
            left_out: line.left_out,
            gap: None,
            options: BTreeSet::new(),
        }))
    }

    /// What was missing first.
    pub(super) fn gap(&self) -> Option<Gap> {
        self.lock().gap.clone()
    }

    /// Options that the policy has looked at.
    pub(super) fn options(&self) -> BTreeSet<String> {
        self.lock().options.clone()
    }

    fn missing(&self, gap: Gap) {
        self.lock().gap.get_or_insert(gap);
    }

    /// The recorded call that `asked` is, if it is the next about its subject.
    fn again(&self, asked: &CallAgain<'_>) -> Option<HostCall> {
        let mut inner = self.lock();
        let next = inner.calls.iter().position(|call| asked.concerns(call));
        if let Some(place) = next.filter(|place| asked.is(&inner.calls[*place])) {
            return Some(inner.calls.remove(place));
        }
        // What was left out came last: it cannot be what should come before
        // another call about the same.
        let gap = if inner.left_out == 0 || next.is_some() {
            Gap::Call(asked.to_string())
        } else {
            Gap::LeftOut(asked.to_string(), inner.left_out)
        };
        inner.gap.get_or_insert(gap);
        None
    }

    fn claims(&self, value: Value, asked: &CallAgain<'_>) -> Option<Claims> {
        let claims = Claims::recorded(value);
        if claims.is_none() {
            self.missing(Gap::Answer(asked.to_string()));
        }
        claims
    }

    // No change is left half done, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that is made again.
#[derive(Clone, Copy)]
enum CallAgain<'a> {
    Now,
    Monotonic,
    Verify(&'a str),
    Claim(&'a str),
    Evict { key: &'a str, holder: &'a str },
    Count(&'a str, record::Change),
    Contains(&'a str, &'a str),
    Get(&'a str, &'a str),
    Ask(&'a Request),
}

impl CallAgain<'_> {
    /// Whether the answer to a recorded call has to do with the answer to this
    /// one.
    fn concerns(&self, call: &HostCall) -> bool {
        match (self, call) {
            (Self::Now, HostCall::NowMs { .. })
            | (Self::Monotonic, HostCall::MonotonicNs { .. }) => true,
            (Self::Verify(asked), HostCall::Verify { key_set: key, .. })
            | (
                Self::Claim(asked) | Self::Evict { key: asked, .. },
                HostCall::Claim { key, .. } | HostCall::Evict { key, .. },
            )
            | (Self::Count(asked, _), HostCall::Count { key, .. }) => key == asked,
            (
                Self::Contains(list, key),
                HostCall::ListContains {
                    list: named, entry, ..
                },
            )
            | (
                Self::Get(list, key),
                HostCall::ListGet {
                    list: named, entry, ..
                },
            ) => named == list && entry == key,
            (
                Self::Ask(asked),
                HostCall::Ask {
                    destination,
                    params,
                    query,
                    body,
                    ..
                },
            ) => {
                *destination == asked.destination
                    && *params == asked.params
                    && *query == asked.query
                    && *body == asked.body
            }
            _ => false,
        }
    }

    /// Whether one that it concerns is this very call.
    fn is(&self, call: &HostCall) -> bool {
        match (self, call) {
            (Self::Evict { holder: asked, .. }, HostCall::Evict { holder, .. }) => holder == asked,
            (Self::Count(_, asked), HostCall::Count { change, .. }) => change == asked,
            (Self::Claim(_), HostCall::Evict { .. })
            | (Self::Evict { .. }, HostCall::Claim { .. }) => false,
            _ => true,
        }
    }
}

impl std::fmt::Display for CallAgain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now => f.write_str("clock.now-ms"),
            Self::Monotonic => f.write_str("clock.monotonic-ns"),
            Self::Verify(key_set) => write!(f, "jwt.verify with \"{key_set}\""),
            Self::Claim(key) => write!(f, "sessions.claim of \"{key}\""),
            Self::Evict { key, holder } => {
                write!(f, "sessions.evict of \"{holder}\" from \"{key}\"")
            }
            Self::Contains(list, entry) => {
                write!(f, "lists.contains of \"{entry}\" in \"{list}\"")
            }
            Self::Get(list, key) => write!(f, "lists.get of \"{key}\" in \"{list}\""),
            Self::Ask(request) => write!(f, "the destination {}", shown(request)),
            Self::Count(key, change) => {
                let (call, more) = match change {
                    record::Change::None => ("get", String::new()),
                    record::Change::Add { amount, life_ms } => {
                        ("add", format!(", {amount} for {life_ms} ms"))
                    }
                    record::Change::Replace { value, life_ms } => {
                        ("replace", format!(", {value} for {life_ms} ms"))
                    }
                };
                write!(f, "counters.{call} of \"{key}\"{more}")
            }
        }
    }
}

impl World for Past {
    fn now_ms(&self) -> u64 {
        match self.again(&CallAgain::Now) {
            Some(HostCall::NowMs { answer }) => answer,
            _ => 0,
        }
    }

    fn monotonic_ns(&self, _: Instant) -> u64 {
        match self.again(&CallAgain::Monotonic) {
            Some(HostCall::MonotonicNs { answer }) => answer,
            _ => 0,
        }
    }

    fn verify(&self, _: &Session, key_set: &str) -> Option<Result<Claims, TokenError>> {
        let asked = CallAgain::Verify(key_set);
        match self.again(&asked)? {
            HostCall::Verify {
                answer: HostAnswer::Ok(claims),
                ..
            } => self.claims(claims, &asked).map(Ok),
            HostCall::Verify {
                answer: HostAnswer::Err(error),
                ..
            } => Some(Err(error)),
            // A trap then is a trap again.
            _ => None,
        }
    }

    fn claim(&self, _: &Arc<Session>, key: &str) -> Result<(), ClaimError> {
        claimed(self.again(&CallAgain::Claim(key)))
    }

    fn evict(
        &self,
        _: &Arc<Session>,
        key: &str,
        holder: &str,
        _: Rejection,
    ) -> Result<(), ClaimError> {
        claimed(self.again(&CallAgain::Evict { key, holder }))
    }

    fn count(
        &self,
        _: counters::Account<'_>,
        key: &str,
        change: Change,
    ) -> Result<i64, counters::CounterError> {
        let Some(HostCall::Count { answer, .. }) =
            self.again(&CallAgain::Count(key, change.into()))
        else {
            // It ends the call, of which nothing is believed any more.
            return Err(counters::CounterError::TooLarge);
        };
        match answer {
            HostAnswer::Ok(value) => Ok(value),
            HostAnswer::Err(record::CounterError::Full) => Err(counters::CounterError::Full),
            HostAnswer::Err(record::CounterError::TooLarge) | HostAnswer::Trap(_) => {
                Err(counters::CounterError::TooLarge)
            }
        }
    }

    fn list_contains(&self, list: &str, entry: &str) -> Option<bool> {
        match self.again(&CallAgain::Contains(list, entry))? {
            HostCall::ListContains {
                answer: HostAnswer::Ok(found),
                ..
            } => Some(found),
            // A trap then is a trap again.
            _ => None,
        }
    }

    fn list_get(&self, list: &str, key: &str) -> Option<Option<String>> {
        match self.again(&CallAgain::Get(list, key))? {
            HostCall::ListGet {
                answer: HostAnswer::Ok(value),
                ..
            } => {
                if value.as_ref().is_some_and(|value| value.contains(HIDDEN)) {
                    self.missing(Gap::Withheld(format!(
                        "the value of \"{key}\" in \"{list}\""
                    )));
                }
                Some(value)
            }
            _ => None,
        }
    }

    fn ask<'a>(&'a self, asking: Asking<'a>) -> BoxFuture<'a, Result<Vec<Answered>, Misuse>> {
        let again = |request| match self.again(&CallAgain::Ask(request)) {
            Some(HostCall::Ask { answer, .. }) => Ok(answered(answer)),
            // It ends the call, of which nothing is believed any more.
            _ => Err(Misuse::because("the request is not recorded".to_owned())),
        };
        ready(asking.requests.iter().map(again).collect()).boxed()
    }

    fn log(&self, _: &str, _: Level, _: &str) {}

    fn looked_at(&self, seen: Seen<'_>) {
        match seen {
            Seen::Text(text) if text.contains(HIDDEN) => {
                self.missing(Gap::Withheld(text.to_owned()));
            }
            Seen::Claim(claims, pointer) if is_hidden(claims, pointer) => {
                self.missing(Gap::Withheld(format!("the claim {pointer}")));
            }
            Seen::Payload => self.missing(Gap::Payload),
            Seen::Option(key) => {
                self.lock().options.insert(text::clean(key, 200));
            }
            Seen::Text(_) | Seen::Claim(..) => {}
        }
    }
}

/// What a service answered. That a decision was made says that no answer was missing which the
/// operator demands.
fn answered(answer: HostAnswer<RecordedAnswer, AnswerError>) -> Answered {
    Answered {
        answer: match answer {
            HostAnswer::Ok(answer) => Ok(Answer {
                status: answer.status,
                body: answer.body.into(),
                age_ms: answer.age_ms,
            }),
            HostAnswer::Err(error) => Err(error),
            HostAnswer::Trap(_) => Err(AnswerError::Unavailable),
        },
        on_failure: OnUnanswered::Answer,
    }
}

/// What was answered to a claim; without an answer the call ends.
fn claimed(call: Option<HostCall>) -> Result<(), ClaimError> {
    let Some(HostCall::Claim { answer, .. } | HostCall::Evict { answer, .. }) = call else {
        return Err(ClaimError::Ended);
    };
    match answer {
        HostAnswer::Ok(()) => Ok(()),
        HostAnswer::Err(holder) => Err(ClaimError::Held(registry::Holder {
            session_id: holder.session_id,
            since_ms: holder.since_ms,
            attributes: holder.attributes,
        })),
        HostAnswer::Trap(Fault::TooMany) => Err(ClaimError::TooMany),
        HostAnswer::Trap(Fault::TooLarge) => Err(ClaimError::TooLarge),
        HostAnswer::Trap(Fault::Ended | Fault::NoKeySet | Fault::NoList) => Err(ClaimError::Ended),
    }
}

/// Whether a claim, something in it, or what it is in is withheld.
fn is_hidden(claims: &Claims, pointer: &str) -> bool {
    let ends = pointer.match_indices('/').map(|(at, _)| at);
    let hidden = |end| {
        let above = claims.value().pointer(&pointer[..end]);
        let text = above.and_then(Value::as_str);
        text.is_some_and(|text| text.contains(HIDDEN))
    };
    let mut above = ends.filter(|end| *end > 0);
    above.any(hidden)
        || claims
            .get(pointer)
            .is_some_and(|text| text.contains(HIDDEN))
}
