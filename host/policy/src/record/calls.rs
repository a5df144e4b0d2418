//! What a policy asked the gateway, and what it was told, in a line of the record.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Pairs;
use crate::destinations::AnswerError;
use keys::TokenError;

/// A call to the gateway, and its answer. What a policy reads of the
/// connection is in [`Input`](super::Input); its own configuration and its log are not
/// recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call")]
pub enum HostCall {
    /// `clock.now-ms`
    #[serde(rename = "clock.now-ms")]
    NowMs {
        /// Milliseconds since 1970.
        answer: u64,
    },
    /// `clock.monotonic-ns`
    #[serde(rename = "clock.monotonic-ns")]
    MonotonicNs {
        /// Nanoseconds since the policy's call began.
        answer: u64,
    },
    /// `jwt.verify`
    #[serde(rename = "jwt.verify")]
    Verify {
        /// The key set's name.
        key_set: String,
        /// The claims.
        answer: HostAnswer<Value, TokenError>,
    },
    /// `sessions.claim`
    #[serde(rename = "sessions.claim")]
    Claim {
        /// The key.
        key: String,
        /// Who has it.
        answer: HostAnswer<(), RecordedHolder>,
    },
    /// `sessions.evict`
    #[serde(rename = "sessions.evict")]
    Evict {
        /// The key.
        key: String,
        /// Who was to be evicted.
        holder: String,
        /// Who has it.
        answer: HostAnswer<(), RecordedHolder>,
    },
    /// Any of `counters`
    #[serde(rename = "counters")]
    Count {
        /// The counter's key.
        key: String,
        /// What was done to it.
        #[serde(flatten)]
        change: Change,
        /// What was answered: a number, or why there is none.
        answer: HostAnswer<i64, CounterError>,
    },
    /// `lists.contains`
    #[serde(rename = "lists.contains")]
    ListContains {
        /// The list's name.
        list: String,
        /// What was looked for.
        entry: String,
        /// Whether it is there.
        answer: HostAnswer<bool, ListError>,
    },
    /// `lists.get`
    #[serde(rename = "lists.get")]
    ListGet {
        /// The map's name.
        list: String,
        /// The key.
        entry: String,
        /// The value, if there is one.
        answer: HostAnswer<Option<String>, ListError>,
    },
    /// `notice.send`
    #[serde(rename = "notice")]
    Notice {
        /// The word.
        code: String,
        /// The sentence.
        message: String,
    },
    /// `metrics.add`, all of one counter together
    #[serde(rename = "metrics")]
    Metric {
        /// The counter's name.
        name: String,
        /// Its label; empty if it has none.
        label: String,
        /// How much was added.
        amount: u64,
    },
    /// A request of `prepare`, and what the service answered.
    #[serde(rename = "destinations")]
    Ask {
        /// The destination's name.
        destination: String,
        /// Parameters of the path.
        params: Pairs,
        /// Parameters of the query.
        query: Pairs,
        /// The body of the request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// The answer, or why there is none.
        answer: HostAnswer<RecordedAnswer, AnswerError>,
    },
}

/// Answer of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedAnswer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
    /// Time since the service gave it, in milliseconds.
    pub age_ms: u64,
}

/// Why nothing was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListError {
    /// The list could not be reached.
    Unavailable,
}

/// What the gateway answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostAnswer<T, E> {
    /// It went well.
    Ok(T),
    /// It did not.
    Err(E),
    /// The policy was not answered: the call ended it.
    Trap(Fault),
}

/// What a policy must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// There is no key set of that name.
    NoKeySet,
    /// There is no list of that name.
    NoList,
    /// It holds all the claims that a connection may hold.
    TooMany,
    /// The key of its claim is too long.
    TooLarge,
    /// Its connection is gone.
    Ended,
}

/// The session that holds a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedHolder {
    /// Its id.
    pub session_id: String,
    /// When it made the claim, in milliseconds since 1970.
    pub since_ms: u64,
    /// Its attributes.
    pub attributes: Pairs,
}

/// What was done to a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// It was read.
    None,
    /// Something was added.
    Add {
        /// How much.
        amount: i64,
        /// How long a counter that begins with this lasts.
        life_ms: u64,
    },
    /// It was given another value.
    Replace {
        /// Which one.
        value: i64,
        /// How long it lasts from now.
        life_ms: u64,
    },
}

/// Why nothing was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CounterError {
    /// The policy has all the counters that it may have.
    Full,
    /// The key is too long.
    TooLarge,
}
