//! Key sets of the generation that serves newcomers.

use serde::{Deserialize, Serialize};

use super::time;
use keys::provider::Attempt;
use keys::{KeySets, TokenTimes};
use session::registry::unix_ms;

/// A key set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KeySet {
    /// Its name in the configuration.
    pub name: String,
    /// `configuration`, `file`, `provider`, or `by-issuer` if it chooses among others.
    pub source: String,
    /// Keys that can verify tokens.
    pub keys: u64,
    /// Why it rejects every token with 4012; `null` if it does not.
    pub unavailable: Option<String>,
    /// Time of the latest answer of its provider.
    pub fetched: Option<String>,
    /// Time since then, in milliseconds.
    pub age_ms: Option<u64>,
    /// `fetched`, `unchanged` or `failed`: the latest attempt.
    pub last_fetch: Option<String>,
    /// Why that failed.
    pub error: Option<String>,
    /// What its tokens tell of their issuer's clock.
    pub clock: Clock,
}

/// What the tokens of the latest five to ten minutes tell of their issuer's clock. Only tokens with a
/// valid signature, issuer and audience count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// Number of these tokens. One that several policies verify counts as often.
    pub tokens: u64,
    /// How far the issuer's clock is ahead of the gateway's at least, in milliseconds.
    pub ahead_ms: u64,
    /// Age of the youngest token when it arrived, in milliseconds.
    pub youngest_ms: Option<u64>,
    /// Tokens that had expired.
    pub expired: u64,
    /// Tokens that were not valid yet.
    pub not_yet_valid: u64,
}

impl Clock {
    fn of(times: &TokenTimes) -> Self {
        let ms = |seconds: u64| seconds.saturating_mul(1000);
        Self {
            tokens: times.tokens,
            ahead_ms: ms(times.ahead()),
            youngest_ms: times.youngest().map(ms),
            expired: times.expired,
            not_yet_valid: times.not_yet_valid,
        }
    }
}

impl KeySet {
    /// What is known of all key sets now.
    #[must_use]
    pub(crate) fn all(key_sets: &KeySets) -> Vec<Self> {
        let sets = key_sets.iter().map(|(name, set)| {
            let state = set.provider().map(|provider| provider.state());
            let fetched_ms = state.as_ref().and_then(|state| state.fetched_ms);
            let latest = state.and_then(|state| state.latest);
            Self {
                name: name.to_owned(),
                source: set.source().to_owned(),
                keys: set.len() as u64,
                unavailable: set.unavailable(),
                fetched: fetched_ms.map(time),
                age_ms: fetched_ms.map(|at| unix_ms().saturating_sub(at)),
                last_fetch: latest.as_ref().map(|latest| latest.word().to_owned()),
                error: match latest {
                    Some(Attempt::Failed(error)) => Some(error),
                    Some(Attempt::Fetched | Attempt::Unchanged) | None => None,
                },
                clock: Clock::of(&set.token_times()),
            }
        });
        sets.collect()
    }
}
