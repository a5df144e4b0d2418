//! State of a mock. The functions of the contract have no argument for it, so each thread has one.

#![allow(
    clippy::panic,
    reason = "this is part of a test: a mistake in it is to fail that test, and say why"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::Evicted;
use crate::bindings::imports::sluice::policy::{counters, destinations, jwt, types};
use crate::destinations::AnswerError;
use crate::{Holder, Rejection, TokenError};

/// Monday, 5 January 2026, 12:00 UTC.
const NOON: u64 = 1_767_614_400_000;

/// State of a mock.
pub(crate) struct World {
    pub policy: String,
    pub config: BTreeMap<String, String>,
    pub now_ms: u64,
    pub passed_ms: u64,
    pub session_id: String,
    pub route: String,
    pub path: String,
    pub params: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
    /// Headers by name in lower case.
    pub headers: BTreeMap<String, String>,
    pub remote_addr: String,
    /// Attributes, in the order in which they were set.
    attributes: Vec<(String, String)>,
    /// Result of verifying the client's token, by key set.
    pub tokens: BTreeMap<String, Result<Value, TokenError>>,
    /// Holders by key.
    pub holders: BTreeMap<String, Holder>,
    pub evicted: Vec<Evicted>,
    counters: BTreeMap<String, Counter>,
    pub max_counters: usize,
    /// Entries of lists, which have no value, and of maps.
    pub lists: BTreeMap<String, BTreeMap<String, Option<String>>>,
    /// Answers of services, in the order of the requests.
    pub answers: Vec<Result<(u16, String), AnswerError>>,
    /// Codes and sentences of notices.
    pub notices: Vec<String>,
    /// Counters by name and label.
    pub metrics: BTreeMap<(String, String), u64>,
    pub log: Vec<String>,
    pub references: Vec<String>,
}

struct Counter {
    value: i64,
    /// End of its life, compared with [`World::passed_ms`].
    ends: u64,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// Reads or changes the state of this thread's mock.
pub(crate) fn with<T>(look: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| match world {
        Some(world) => look(world),
        None => panic!(
            "off WebAssembly there is no gateway to ask: make a `sluice_policy::testing::Mock` on this thread first"
        ),
    })
}

pub(super) fn begin(policy: &str) {
    WORLD.with_borrow_mut(|world| match world {
        Some(_) => panic!("this thread has a `Mock` already: use that one, or drop it first"),
        None => *world = Some(World::new(policy)),
    });
}

pub(super) fn end() {
    // The thread may be ending, and have dropped the state.
    let _ = WORLD.try_with(|world| world.take());
}

/// Claims from a test.
pub(super) fn claims(json: &str) -> Value {
    match serde_json::from_str(json) {
        Ok(claims @ Value::Object(_)) => claims,
        _ => panic!("the claims of a token are a JSON object, and not {json}"),
    }
}

impl World {
    fn new(policy: &str) -> Self {
        Self {
            policy: policy.to_owned(),
            config: BTreeMap::new(),
            now_ms: NOON,
            passed_ms: 0,
            session_id: "this-session".to_owned(),
            route: "route".to_owned(),
            path: "/".to_owned(),
            params: BTreeMap::new(),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            remote_addr: "192.0.2.1:50000".to_owned(),
            attributes: Vec::new(),
            tokens: BTreeMap::new(),
            holders: BTreeMap::new(),
            evicted: Vec::new(),
            counters: BTreeMap::new(),
            max_counters: 10_000,
            lists: BTreeMap::new(),
            answers: Vec::new(),
            notices: Vec::new(),
            metrics: BTreeMap::new(),
            log: Vec::new(),
            references: Vec::new(),
        }
    }

    pub fn declare(&mut self, what: &str, texts: &[&str]) {
        self.references.push(format!("{what} {}", texts.join(" ")));
    }

    pub fn list(&self, name: &str) -> &BTreeMap<String, Option<String>> {
        match self.lists.get(name) {
            Some(list) => list,
            None => panic!("there is no list `{name}`: give the mock one with `list` or `map`"),
        }
    }

    pub fn answer(&self, place: u32) -> Result<(u16, String), destinations::Error> {
        let answer = usize::try_from(place)
            .ok()
            .and_then(|place| self.answers.get(place));
        match answer {
            Some(Ok(answer)) => Ok(answer.clone()),
            Some(Err(error)) => Err((*error).into()),
            None => panic!("there is no answer {place}: give the mock one with `answer`"),
        }
    }

    pub fn attribute(&self, name: &str) -> Option<String> {
        let found = self.attributes.iter().find(|(left, _)| left == name);
        found.map(|(_, value)| value.clone())
    }

    pub fn leave(&mut self, name: &str, value: &str) {
        let left = self.attributes.iter_mut().find(|(left, _)| left == name);
        match left {
            Some((_, left)) => value.clone_into(left),
            None => self.attributes.push((name.to_owned(), value.to_owned())),
        }
    }

    pub fn verify(&self, key_set: &str) -> Result<Value, jwt::Error> {
        match self.tokens.get(key_set) {
            None => Err(jwt::Error::Missing),
            Some(verified) => verified.clone().map_err(Into::into),
        }
    }

    pub fn claim(&mut self, key: &str) -> Result<(), Holder> {
        match self.holders.get(key) {
            Some(holder) if holder.session_id != self.session_id => Err(holder.clone()),
            Some(_) => Ok(()),
            None => {
                self.take(key);
                Ok(())
            }
        }
    }

    pub fn evict(
        &mut self,
        key: &str,
        holder: &str,
        notice: &types::Rejection,
    ) -> Result<(), Holder> {
        match self.holders.get(key) {
            Some(other) if other.session_id == self.session_id => return Ok(()),
            Some(other) if other.session_id != holder => return Err(other.clone()),
            Some(_) => self.evicted.push(Evicted {
                session_id: holder.to_owned(),
                key: key.to_owned(),
                notice: told(notice),
            }),
            None => {}
        }
        self.take(key);
        Ok(())
    }

    fn take(&mut self, key: &str) {
        let holder = Holder {
            session_id: self.session_id.clone(),
            since_ms: self.now_ms,
            attributes: self.attributes.clone(),
        };
        self.holders.insert(key.to_owned(), holder);
    }

    pub fn counter(&self, key: &str) -> i64 {
        self.live(key).map_or(0, |counter| counter.value)
    }

    pub fn set_counter(&mut self, key: &str, value: i64, life_ms: u32) {
        let ends = self.passed_ms + u64::from(life_ms);
        self.counters
            .insert(key.to_owned(), Counter { value, ends });
    }

    pub fn add(&mut self, key: &str, amount: i64, life_ms: u32) -> Result<i64, counters::Error> {
        let sum = self.counter(key).saturating_add(amount);
        if self.live(key).is_none() {
            self.replace(key, sum, life_ms)?;
        } else if let Some(counter) = self.counters.get_mut(key) {
            counter.value = sum;
        }
        Ok(sum)
    }

    pub fn replace(&mut self, key: &str, value: i64, life_ms: u32) -> Result<i64, counters::Error> {
        let before = self.counter(key);
        let passed = self.passed_ms;
        self.counters.retain(|_, counter| counter.ends > passed);
        if !self.counters.contains_key(key) && self.counters.len() >= self.max_counters {
            return Err(counters::Error::Full);
        }
        self.set_counter(key, value, life_ms);
        Ok(before)
    }

    fn live(&self, key: &str) -> Option<&Counter> {
        let counter = self.counters.get(key)?;
        (counter.ends > self.passed_ms).then_some(counter)
    }
}

fn told(notice: &types::Rejection) -> Rejection {
    let mut told = Rejection::new(&notice.code, &notice.message);
    if let Some(close_code) = notice.close_code {
        told = told.close_code(close_code);
    }
    match (notice.retry_after_ms, notice.retryable) {
        (Some(wait), _) => told.retry_after_ms(wait),
        (None, true) => told.retryable(),
        (None, false) => told,
    }
}

impl From<AnswerError> for destinations::Error {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Timeout => Self::Timeout,
            AnswerError::Unavailable => Self::Unavailable,
            AnswerError::Busy => Self::Busy,
            AnswerError::TooLarge => Self::TooLarge,
            AnswerError::Unusable | AnswerError::Unfit => Self::Unusable,
            AnswerError::Refused => Self::Refused,
        }
    }
}

impl From<TokenError> for jwt::Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Missing => Self::Missing,
            TokenError::Malformed => Self::Malformed,
            TokenError::BadSignature => Self::BadSignature,
            TokenError::Expired => Self::Expired,
            TokenError::NotYetValid => Self::NotYetValid,
            TokenError::WrongIssuer => Self::WrongIssuer,
            TokenError::WrongAudience => Self::WrongAudience,
            TokenError::UnknownKey => Self::UnknownKey,
            TokenError::Unavailable => Self::Unavailable,
            TokenError::Invalid => Self::Invalid,
        }
    }
}
