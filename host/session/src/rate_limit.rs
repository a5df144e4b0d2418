//! Rate limit on the connection attempts of one client, so that a client that retries every second
//! for ever costs little.
//!
//! The key of a client contains what it sends, so one client can produce any number of keys. Each
//! key is stored as a hash of fixed size. When there are too many, the key with the oldest attempt
//! is forgotten. Its client then gets more attempts than it should, and no client is refused
//! because of another.

use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use lru::LruCache;
use tokio::time::Instant;

use crate::facts::{Credentials, Facts};
use base::permits::network;

/// Maximum number of keys in memory: about 5 MiB for a route.
const MAX_KEYS: usize = 64 * 1024;

/// Rate limit of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Attempts in each `per`, and in a burst.
    pub attempts: NonZeroU32,
    /// Time after which all attempts are available again.
    pub per: Duration,
    /// Facts that tell clients apart.
    pub key: Vec<KeyPart>,
}

/// Fact that is part of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// Client address, without its port.
    Remote,
    /// Path parameter.
    Param(String),
    /// Query parameter.
    Query(String),
    /// Header.
    Header(String),
}

/// Hash of the values of the parts. It is keyed by this process, so that nobody can construct
/// another client's.
type Key = u64;

/// Counter of attempts by key.
pub struct AttemptLimit {
    allowance: Allowance,
    hashing: RandomState,
    limiter: RateLimiter<Key, Recent, TokioClock, NoOpMiddleware<Nanos>>,
}

/// Error: too many attempts. The next one is allowed after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany(pub Duration);

impl AttemptLimit {
    /// Limiter with this allowance.
    #[must_use]
    pub fn new(allowance: &Allowance) -> Self {
        let each = allowance.per / allowance.attempts.get();
        let quota = Quota::with_period(each.max(Duration::from_nanos(1)))
            .unwrap_or_else(|| Quota::per_second(allowance.attempts))
            .allow_burst(allowance.attempts);
        Self {
            allowance: allowance.clone(),
            hashing: RandomState::new(),
            limiter: RateLimiter::new(quota, Recent::default(), TokioClock::start()),
        }
    }

    /// Configured allowance.
    #[must_use]
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// [`TooMany`] if the key has used up its allowance.
    pub fn attempt(&self, facts: &Facts) -> Result<(), TooMany> {
        self.limiter
            .check_key(&self.key(facts))
            .map_err(|not_until| TooMany(not_until.wait_time_from(self.limiter.clock().now())))
    }

    fn key(&self, facts: &Facts) -> Key {
        let mut hasher = self.hashing.build_hasher();
        for part in &self.allowance.key {
            match part {
                KeyPart::Remote => network(facts.remote.ip()).hash(&mut hasher),
                KeyPart::Param(name) => facts.param(name).hash(&mut hasher),
                KeyPart::Query(name) => facts.query(name, Credentials::Withheld).hash(&mut hasher),
                KeyPart::Header(name) => {
                    facts.header(name, Credentials::Withheld).hash(&mut hasher);
                }
            }
        }
        hasher.finish()
    }
}

/// State of the keys with the most recent attempts.
struct Recent(Mutex<LruCache<Key, InMemoryState>>);

impl Default for Recent {
    /// The map is bounded when it grows. An LRU map with a capacity would allocate all of its
    /// memory at once.
    fn default() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }
}

impl StateStore for Recent {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // Every step leaves the map consistent, so poisoning does not matter.
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= MAX_KEYS && !recent.contains(key) {
            recent.pop_lru();
        }
        recent
            .get_or_insert(*key, InMemoryState::default)
            .measure_and_replace(&NotKeyed::NonKey, measure)
    }
}

/// Tokio's clock, which tests can pause.
#[derive(Debug, Clone)]
struct TokioClock {
    started: Instant,
}

impl TokioClock {
    fn start() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.started.elapsed().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;

    fn facts(remote: &str, uri: &str) -> Facts {
        let remote = remote.parse().unwrap();
        Facts::new(
            "s".into(),
            "r".into(),
            &uri.parse().unwrap(),
            vec![],
            HeaderMap::new(),
            remote,
        )
    }

    fn limit() -> AttemptLimit {
        AttemptLimit::new(&Allowance {
            attempts: NonZeroU32::new(3).unwrap(),
            per: Duration::from_secs(30),
            key: vec![KeyPart::Remote, KeyPart::Query("source".to_owned())],
        })
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_come_back_with_time() {
        let limit = limit();
        let facts = facts("10.0.0.1:1", "/x?source=mic");
        for _ in 0..3 {
            limit.attempt(&facts).unwrap();
        }
        let TooMany(wait) = limit.attempt(&facts).unwrap_err();
        assert!(
            wait > Duration::from_secs(9) && wait <= Duration::from_secs(10),
            "{wait:?}"
        );
        tokio::time::advance(wait).await;
        limit.attempt(&facts).unwrap();
        assert!(limit.attempt(&facts).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn clients_are_told_apart_by_the_key_and_not_by_their_port() {
        let limit = limit();
        for port in 1..=3 {
            limit
                .attempt(&facts(&format!("10.0.0.1:{port}"), "/x?source=mic"))
                .unwrap();
        }
        assert!(
            limit
                .attempt(&facts("10.0.0.1:9", "/x?source=mic"))
                .is_err()
        );
        limit
            .attempt(&facts("10.0.0.1:9", "/x?source=sys"))
            .unwrap();
        limit
            .attempt(&facts("10.0.0.2:9", "/x?source=mic"))
            .unwrap();
    }

    fn remembered(limit: AttemptLimit) -> usize {
        limit
            .limiter
            .into_state_store()
            .0
            .into_inner()
            .unwrap()
            .len()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_invents_keys_keeps_nobody_out_and_frees_nobody_who_goes_on_trying() {
        let limit = limit();
        let known = facts("10.0.0.1:1", "/x?source=known");
        let insistent = facts("10.0.0.1:1", "/x?source=insistent");
        limit.attempt(&known).unwrap();
        for number in 0..MAX_KEYS * 2 {
            let invented = format!("/x?source={number}");
            limit.attempt(&facts("10.0.0.1:1", &invented)).unwrap();
            if number % 1000 == 0 {
                // Time enough for none of its attempts to come back.
                let answer = limit.attempt(&insistent);
                assert_eq!(answer.is_err(), number >= 3000, "{number}");
            }
        }
        limit.attempt(&known).unwrap();
        limit.attempt(&facts("10.0.0.2:1", "/x")).unwrap();
        assert_eq!(remembered(limit), MAX_KEYS);
    }

    #[test]
    fn a_part_that_is_not_there_and_the_place_of_a_part_make_another_key() {
        let both = AttemptLimit::new(&Allowance {
            attempts: NonZeroU32::MIN,
            per: Duration::from_secs(1),
            key: ["a", "b"]
                .map(|name| KeyPart::Query(name.to_owned()))
                .into(),
        });
        let keys = [
            "/x",
            "/x?a=",
            "/x?b=",
            "/x?a=1",
            "/x?b=1",
            "/x?a=1&b=1",
            "/x?a=11",
        ]
        .map(|uri| both.key(&facts("10.0.0.1:1", uri)));
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }
}
