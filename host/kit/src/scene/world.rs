//! What stands behind a policy's calls in a case: real keys, claims and counters, and a clock that
//! only a window moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};

use crate::fixture::answers::{self, CaseAnswer};
use crate::fixture::{Case, Token};
use base::rejection::Rejection;
use config::Config;
use keys::{Claims, KeySets, TokenError};
use policy::amendment::Amendment;
use policy::bindings::sluice::policy::log::Level;
use policy::counters::{Account, Change, CounterError, Counters};
use policy::destinations::settings::Service;
use policy::destinations::{Answered, Asking, Misuse, Request};
use policy::lists::Lists;
use policy::window::Window;
use policy::world::{Seen, World};
use session::registry::{ClaimError, Registry, Session, SessionGuard};

/// How long the counters of a case last: it is over long before.
const LIFE: Duration = Duration::from_hours(1);

/// What stands behind the policy's calls.
pub struct SceneWorld {
    now_ms: AtomicU64,
    key_sets: KeySets,
    fault: Option<TokenError>,
    registry: Registry,
    counters: Counters,
    lists: Lists,
    services: BTreeMap<String, Service>,
    answers: Vec<CaseAnswer>,
    /// Since when the other connections hold their keys.
    since: BTreeMap<String, u64>,
    log: Mutex<Vec<String>>,
    looked: Mutex<Looked>,
}

/// What the policy did that its author may not have meant.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    /// Keys of its configuration that it asked for.
    pub options: BTreeSet<String>,
    /// What was changed of what it said.
    pub amendments: Vec<String>,
    /// Answers of the case that it got, by their places.
    pub answers: BTreeSet<usize>,
}

impl SceneWorld {
    /// The world of a case for the policy `name`, with the connections of `registry`.
    pub(super) fn of(
        case: &Case,
        name: &str,
        config: &Config,
        key_sets: KeySets,
        registry: Registry,
        lists: &Lists,
    ) -> anyhow::Result<Self> {
        let counters = Counters::default();
        for (key, value) in &case.counters {
            let change = Change::Replace {
                value: *value,
                life: LIFE,
            };
            counters
                .change(Account::of(name, usize::MAX), key, change)
                .with_context(|| format!("the counter \"{key}\""))?;
        }
        let since = case
            .sessions
            .iter()
            .map(|other| (other.session_id.clone(), other.since));
        Ok(Self {
            now_ms: case.clock.into(),
            key_sets,
            fault: match &case.token {
                Token::Fault(fault) => Some(*fault),
                Token::Claims(_) => None,
            },
            registry,
            counters,
            lists: lists.with(case.lists()),
            services: config
                .destinations
                .iter()
                .map(|(name, destination)| (name.clone(), destination.service.clone()))
                .collect(),
            answers: case.answers.clone(),
            since: since.collect(),
            log: Mutex::default(),
            looked: Mutex::default(),
        })
    }

    /// Lets the time of a window pass.
    pub fn pass(&self, window: &Window) {
        let ms = u64::try_from(window.length.as_millis()).unwrap_or(u64::MAX);
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// The lines that the policy has logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What the policy did so far that its author may not have meant.
    #[must_use]
    pub fn looked(&self) -> Looked {
        self.looked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether this connection holds a key: whether it may take it.
    #[must_use]
    pub fn holds(&self, connection: &SessionGuard, key: &str) -> bool {
        let held_before = self.registry.len();
        self.registry.claim(connection.session(), key).is_ok() && self.registry.len() == held_before
    }

    /// What a counter of the policy stands at.
    #[must_use]
    pub fn counter(&self, policy: &str, key: &str) -> i64 {
        self.counters
            .change(Account::of(policy, usize::MAX), key, Change::None)
            .unwrap_or_default()
    }

    /// The answer of the case to a request.
    fn answer(&self, request: &Request) -> Result<Answered, Misuse> {
        let service = self.services.get(&request.destination);
        let service = service.ok_or_else(|| Misuse::no_destination(&request.destination))?;
        if let Err(error) = request.is_sent(service)? {
            return Ok(Answered {
                answer: Err(error),
                on_failure: service.on_failure,
            });
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let place = answers::best(&self.answers, &looked.answers, request);
        let place = place.ok_or_else(|| {
            Misuse::because(format!(
                "the case has no answer to a request of `prepare`: add answers = [{{ destination = {}, \
                 body = '…' }}]",
                answers::shown(request)
            ))
        })?;
        looked.answers.insert(place);
        Ok(Answered {
            answer: self.answers[place].answer.clone(),
            on_failure: service.on_failure,
        })
    }

    fn as_told<T>(&self, result: Result<T, ClaimError>) -> Result<T, ClaimError> {
        result.map_err(|error| match error {
            ClaimError::Held(mut holder) => {
                holder.since_ms = self
                    .since
                    .get(&holder.session_id)
                    .copied()
                    .unwrap_or_else(|| self.now_ms());
                ClaimError::Held(holder)
            }
            other => other,
        })
    }
}

impl World for SceneWorld {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn verify(&self, session: &Session, key_set: &str) -> Option<Result<Claims, TokenError>> {
        let keys = self.key_sets.get(key_set)?;
        Some(match (self.fault, session.facts.token()) {
            (Some(fault), _) => Err(fault),
            (None, Some(token)) => keys.verify_at(&token, self.now_ms() / 1000),
            (None, None) => Err(TokenError::Missing),
        })
    }

    fn claim(&self, session: &Arc<Session>, key: &str) -> Result<(), ClaimError> {
        self.as_told(self.registry.claim(session, key))
    }

    fn evict(
        &self,
        session: &Arc<Session>,
        key: &str,
        holder: &str,
        notice: Rejection,
    ) -> Result<(), ClaimError> {
        self.as_told(self.registry.evict(session, key, holder, notice))
    }

    fn count(&self, account: Account<'_>, key: &str, change: Change) -> Result<i64, CounterError> {
        self.counters.change(account, key, change)
    }

    fn list_contains(&self, list: &str, entry: &str) -> Option<bool> {
        self.lists.contains(list, entry)
    }

    fn list_get(&self, list: &str, key: &str) -> Option<Option<String>> {
        self.lists.value(list, key)
    }

    fn ask<'a>(&'a self, asking: Asking<'a>) -> BoxFuture<'a, Result<Vec<Answered>, Misuse>> {
        let answers = asking.requests.iter().map(|request| self.answer(request));
        ready(answers.collect()).boxed()
    }

    fn log(&self, _: &str, level: Level, line: &str) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(format!("{level} {line}"));
    }

    fn amends(&self, _: &str, amendment: &Amendment) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.amendments.push(amendment.to_string());
    }

    fn looked_at(&self, seen: Seen<'_>) {
        if let Seen::Option(key) = seen {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            looked.options.insert(base::text::clean(key, 200));
        }
    }
}
