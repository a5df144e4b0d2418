//! What a policy's calls to the host work on: the time, the keys, the
//! claims, the counters, the lists, the destinations and the log. In the gateway they are [`Live`]. The imports are the same
//! everywhere; only what stands behind them differs.

use std::sync::Arc;
use std::time::Instant;

use super::amendment::Amendment;
use super::bindings::sluice::policy::log::Level;
use super::counters::{Account, Change, CounterError, Counters};
use super::destinations::{Answered, Asking, Destinations, Misuse};
use super::lists::Lists;
use base::rejection::Rejection;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use keys::{Claims, KeySets, TokenError};
use session::registry::{ClaimError, Registry, Session, unix_ms};

/// What a policy's calls to the host work on: time, keys, claims, counters, lists, destinations and log. No method waits but [`World::ask`], which no guest calls.
pub trait World: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Nanoseconds since a call began.
    fn monotonic_ns(&self, began: Instant) -> u64 {
        u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Verifies the connection's token against a key set; `None` where there
    /// is no key set of that name.
    fn verify(&self, session: &Session, key_set: &str) -> Option<Result<Claims, TokenError>>;

    /// Takes a key for the session, or says who has it.
    ///
    /// # Errors
    /// As [`Registry::claim`].
    fn claim(&self, session: &Arc<Session>, key: &str) -> Result<(), ClaimError>;

    /// Takes a key from its holder.
    ///
    /// # Errors
    /// As [`Registry::evict`].
    fn evict(
        &self,
        session: &Arc<Session>,
        key: &str,
        holder: &str,
        notice: Rejection,
    ) -> Result<(), ClaimError>;

    /// Changes a counter.
    ///
    /// # Errors
    /// As [`Counters::change`].
    fn count(&self, account: Account<'_>, key: &str, change: Change) -> Result<i64, CounterError>;

    /// Whether a list has an entry; `None` where there is no list of that name.
    fn list_contains(&self, list: &str, entry: &str) -> Option<bool>;

    /// The value of a map at a key; `None` where there is no list of that name.
    fn list_get(&self, list: &str, key: &str) -> Option<Option<String>>;

    /// Asks services.
    ///
    /// # Errors
    /// [`Misuse`] if a request does not fit its destination.
    fn ask<'a>(&'a self, asking: Asking<'a>) -> BoxFuture<'a, Result<Vec<Answered>, Misuse>>;

    /// Takes a line of the log, which is bounded and printable already.
    fn log(&self, policy: &str, level: Level, line: &str);

    /// Something of what a policy said was changed.
    fn amends(&self, _policy: &str, _: &Amendment) {}

    /// A guest looks at something that it does not ask the world for. To most
    /// worlds that is all the same.
    fn looked_at(&self, _: Seen<'_>) {}
}

/// What a guest looks at.
#[derive(Debug, Clone, Copy)]
pub enum Seen<'a> {
    /// A text of the connection, of a token or of another connection.
    Text(&'a str),
    /// A claim, or a place where none is, by its pointer.
    Claim(&'a Claims, &'a str),
    /// The payload of a message that came.
    Payload,
    /// An option of its configuration, by its key.
    Option(&'a str),
}

/// The gateway itself.
pub struct Live {
    /// Its keys.
    pub key_sets: Arc<KeySets>,
    /// Its claims.
    pub registry: Registry,
    /// Its policies' counters.
    pub counters: Arc<Counters>,
    /// Its lists.
    pub lists: Lists,
    /// Services that policies may ask.
    pub destinations: Destinations,
}

impl World for Live {
    fn now_ms(&self) -> u64 {
        unix_ms()
    }

    fn verify(&self, session: &Session, key_set: &str) -> Option<Result<Claims, TokenError>> {
        let keys = self.key_sets.get(key_set)?;
        Some(match session.facts.token() {
            Some(token) => keys.verify(&token),
            None => Err(TokenError::Missing),
        })
    }

    fn claim(&self, session: &Arc<Session>, key: &str) -> Result<(), ClaimError> {
        self.registry.claim(session, key)
    }

    fn evict(
        &self,
        session: &Arc<Session>,
        key: &str,
        holder: &str,
        notice: Rejection,
    ) -> Result<(), ClaimError> {
        self.registry.evict(session, key, holder, notice)
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
        self.destinations.ask(asking).boxed()
    }

    fn log(&self, policy: &str, level: Level, line: &str) {
        match level {
            Level::Debug => tracing::debug!(target: "sluice::guest", policy, "{line}"),
            Level::Info => tracing::info!(target: "sluice::guest", policy, "{line}"),
            Level::Warn => tracing::warn!(target: "sluice::guest", policy, "{line}"),
            Level::Error => tracing::error!(target: "sluice::guest", policy, "{line}"),
        }
    }

    fn amends(&self, policy: &str, amendment: &Amendment) {
        match amendment {
            // Its clients are told something else than the policy meant.
            Amendment::CloseCode(_) | Amendment::NoticeCode(_) | Amendment::NoWord => {
                tracing::warn!(policy, "{amendment}");
            }
            Amendment::Cut { .. }
            | Amendment::NoLine(_)
            | Amendment::Word { .. }
            | Amendment::Empty { .. }
            | Amendment::NoNotice(_) => tracing::debug!(policy, "{amendment}"),
        }
    }
}
