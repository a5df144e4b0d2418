//! A limit on how often the same client may try, so that one which comes back
//! every second for ever costs little.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::facts::{Credentials, Facts};

/// Keys that are remembered. When there are more, those whose allowance is
/// whole again are forgotten; if none is, strangers are refused.
const MAX_KEYS: usize = 64 * 1024;
/// How often the keys are looked through at the most.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// What a route allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Attempts in each `per`, and at once.
    pub attempts: NonZeroU32,
    /// The time in which they come back.
    pub per: Duration,
    /// What tells clients apart.
    pub key: Vec<KeyPart>,
}

/// A fact that is part of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// The peer's address, without its port.
    Remote,
    /// A path parameter.
    Param(String),
    /// A query parameter.
    Query(String),
    /// A header.
    Header(String),
}

/// The values of the parts.
type Key = Vec<Option<String>>;

/// Counts attempts by key.
pub struct AttemptLimit {
    allowance: Allowance,
    limiter: RateLimiter<Key, HashMapStateStore<Key>, TokioClock, NoOpMiddleware<Nanos>>,
    swept: Mutex<Instant>,
}

/// An attempt too many; the next is welcome after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany(pub Duration);

impl AttemptLimit {
    /// Allows what `allowance` says.
    #[must_use]
    pub fn new(allowance: &Allowance) -> Self {
        let each = allowance.per / allowance.attempts.get();
        let quota = Quota::with_period(each.max(Duration::from_nanos(1)))
            .unwrap_or_else(|| Quota::per_second(allowance.attempts))
            .allow_burst(allowance.attempts);
        Self {
            allowance: allowance.clone(),
            limiter: RateLimiter::new(quota, HashMapStateStore::default(), TokioClock::start()),
            swept: Mutex::new(Instant::now()),
        }
    }

    /// What is allowed.
    #[must_use]
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// [`TooMany`] where the key has used up what it is allowed.
    pub fn attempt(&self, facts: &Facts) -> Result<(), TooMany> {
        if self.limiter.len() >= MAX_KEYS && !self.sweep() {
            return Err(TooMany(SWEEP_PAUSE));
        }
        self.limiter
            .check_key(&self.key(facts))
            .map_err(|not_until| TooMany(not_until.wait_time_from(self.limiter.clock().now())))
    }

    fn key(&self, facts: &Facts) -> Key {
        let part = |part: &KeyPart| match part {
            KeyPart::Remote => Some(facts.remote.ip().to_string()),
            KeyPart::Param(name) => facts.param(name).map(str::to_owned),
            KeyPart::Query(name) => facts.query(name, Credentials::Withheld).map(str::to_owned),
            KeyPart::Header(name) => facts.header(name, Credentials::Withheld).map(str::to_owned),
        };
        self.allowance.key.iter().map(part).collect()
    }

    /// Forgets keys whose allowance is whole again; whether there is room now.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        {
            let Ok(mut swept) = self.swept.try_lock() else {
                return false;
            };
            if now.duration_since(*swept) < SWEEP_PAUSE {
                return false;
            }
            *swept = now;
        }
        self.limiter.retain_recent();
        self.limiter.len() < MAX_KEYS
    }
}

/// The clock of everything else here, which tests can pause.
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
}
