//! The decision record: one line of JSON for each decision of a policy.
//!
//! The line says who decided what, on what grounds, and what came of it, with
//! enough in it to decide again: what the policy could see, and what the
//! gateway answered when it asked. `sluice policy replay` does that.
//!
//! ```json
//! {"v":1,"time":"2026-11-23T09:12:07.512034Z","session":"01a2…","route":"ingest","generation":3,
//!  "policy":"auth","digest":"sha256:9f86…","stage":"connect","role":"enforced",
//!  "verdict":"reject","close_code":4001,"code":"auth_failed","message":"token expired",
//!  "retryable":false,"retry_after_ms":null,"effect":"refused","duration_us":212,
//!  "input":{"path":"/ws/ingest/meetings/m1","remote":"192.0.2.7:50123",
//!           "params":[["meeting_id","m1"]],"query":[["source","mic"]],
//!           "headers":[["user-agent","mac"]],"attributes":[],
//!           "withheld":["header authorization"]},
//!  "calls":[{"call":"jwt.verify","key_set":"main","answer":{"err":"expired"}}],
//!  "left_out":0}
//! ```
//!
//! Never a secret: credentials, and whatever is called like one, are named in
//! `withheld` and have no value anywhere in the line ([`redact`](crate::recorder::redact)). Never
//! unescaped text of a guest or a client: the file is ASCII. Where a client sends
//! more credentials than are looked for, none of its texts is recorded. Claims of
//! tokens are in it, so a record is personal data; it is readable by its owner
//! only.
//!
//! What a line does not have cannot be decided about again: the value of a
//! credential, the payload of messages, and the calls that were too many.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use base::closed_by::ClosedBy;
use keys::TokenError;

pub mod notes;

/// The form of a line; what reads another one must say so.
pub const VERSION: u32 = 1;

/// Names with their values, in the order in which they came.
pub(crate) type Pairs = Vec<(String, String)>;

/// One decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`VERSION`]
    pub v: u32,
    /// When it was decided (RFC 3339, UTC).
    pub time: String,
    /// The session's id.
    pub session: String,
    /// The route's name.
    pub route: String,
    /// The generation of policies that the connection was accepted with.
    pub generation: u64,
    /// The policy's name.
    pub policy: String,
    /// `sha256:` and the digest of its component, where it has one.
    pub digest: Option<String>,
    /// What was asked.
    pub stage: Stage,
    /// Whether the answer counted.
    pub role: Role,
    /// What was answered.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Of a shadow: whether it said the same as who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Comparison>,
    /// What was done.
    pub effect: Effect,
    /// How long it took, in microseconds, its wait for a slot included.
    pub duration_us: u64,
    /// What the policy could see.
    pub input: Input,
    /// What it asked the gateway, in order, and what it was told.
    pub calls: Vec<HostCall>,
    /// How many calls are missing behind these, because they were too many or
    /// too large.
    pub left_out: u64,
}

/// A hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// `on-connect`
    Connect,
    /// `on-handshake`
    Handshake,
    /// `on-frames`
    Frames,
    /// `on-close`
    Close,
}

impl Stage {
    /// As in the contract.
    #[must_use]
    pub const fn hook(self) -> &'static str {
        match self {
            Self::Connect => "on-connect",
            Self::Handshake => "on-handshake",
            Self::Frames => "on-frames",
            Self::Close => "on-close",
        }
    }
}

/// Whether a policy's answer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It does.
    Enforced,
    /// It does, for this session, in the place of the policy that it may
    /// replace.
    Canary,
    /// It does not.
    Shadow,
}

/// What a shadow's answer is beside the one that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// Both accept, or refuse with the same code and word.
    Agree,
    /// They do not.
    Differ,
    /// The shadow broke.
    Failed,
}

impl Comparison {
    /// As in the metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::Differ => "differ",
            Self::Failed => "failed",
        }
    }
}

/// What a policy answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// Go on.
    Accept,
    /// Refuse, in these words.
    Reject {
        /// The close code, of those that a policy may use.
        close_code: u16,
        /// The word of the error frame.
        code: String,
        /// The sentence for the client.
        message: String,
        /// Whether the same client may try again unchanged.
        retryable: bool,
        /// How long it should wait first.
        retry_after_ms: Option<u64>,
        /// It was told that keys could not be had, so the client was told that
        /// instead.
        #[serde(default)]
        keys_unavailable: bool,
    },
    /// It broke.
    Failed {
        /// `trap`, `busy` or `limit-*`, as in the metrics.
        failure: String,
        /// What happened, for the operator.
        detail: String,
    },
    /// Nobody waited for the answer: the client left, the admission's time ran
    /// out, or the gateway closed.
    Abandoned,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The connection went on.
    Accepted,
    /// It was refused, in the policy's words.
    Refused,
    /// The policy failed, and the connection was refused.
    FailedClosed,
    /// The policy failed, and the connection went on.
    FailedOpen,
    /// Nothing.
    None,
}

/// What a policy could see. Values of what is named in `withheld` are not
/// there, whether or not the policy was granted to see them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The path, percent-decoded.
    pub path: String,
    /// The peer's address and port.
    pub remote: String,
    /// The path's parameters.
    pub params: Pairs,
    /// The query's parameters, percent-decoded.
    pub query: Pairs,
    /// The headers, the first of each name.
    pub headers: Pairs,
    /// What earlier policies had left.
    pub attributes: Pairs,
    /// What was there and is not recorded: `header cookie`, `query token`.
    pub withheld: Vec<String>,
    /// On `on-handshake`: the client's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Value>,
    /// On `on-frames`: what the client had sent, without the payloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// On `on-close`: how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// [`crate::window::Window`]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Which window of the stream it is, from 0.
    pub index: u64,
    /// How long it lasted, in microseconds.
    pub length_us: u64,
    /// For how much of that the gateway did not read.
    pub held_us: u64,
    /// Whether the client had said that it pauses.
    pub paused: bool,
    /// TEXT messages, and their bytes.
    pub text: (u64, u64),
    /// BINARY messages, and their bytes.
    pub binary: (u64, u64),
    /// The last messages: `text` or `binary`, bytes, microseconds since the
    /// window began.
    pub frames: Vec<(FrameKind, u32, u32)>,
}

/// The kinds of message that RFC 6455 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameKind {
    /// TEXT
    Text,
    /// BINARY
    Binary,
}

/// [`crate::ending::Ending`]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// The word of the error frame, or what else ended it.
    pub cause: String,
    /// The close code that was sent.
    pub close_code: u16,
    /// Which side ended it: `client`, `gateway`, `transport` or `upstream`.
    pub closed_by: ClosedBy,
    /// Whether it got as far as to stream.
    pub streamed: bool,
    /// From the upgrade on, in microseconds.
    pub lasted_us: u64,
    /// Bytes of BINARY payload from the client.
    pub received_bytes: u64,
    /// Bytes of payload that the client was sent.
    pub sent_bytes: u64,
}

/// A call to the gateway, and its answer. What a policy reads of the
/// connection is in [`Input`]; its own configuration and its log are not
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
        answer: Answer<Value, TokenError>,
    },
    /// `sessions.claim`
    #[serde(rename = "sessions.claim")]
    Claim {
        /// The key.
        key: String,
        /// Who has it.
        answer: Answer<(), Holder>,
    },
    /// `sessions.evict`
    #[serde(rename = "sessions.evict")]
    Evict {
        /// The key.
        key: String,
        /// Who was to be evicted.
        holder: String,
        /// Who has it.
        answer: Answer<(), Holder>,
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
        answer: Answer<i64, CounterError>,
    },
}

/// A result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer<T, E> {
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
    /// It holds all the claims that a connection may hold.
    TooMany,
    /// The key of its claim is too long.
    TooLarge,
    /// Its connection is gone.
    Ended,
}

/// The session that holds a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
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

/// In which place somebody decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// His own.
    Enforced,
    /// That of the policy that he may replace.
    Canary,
}

#[cfg(test)]
mod tests;
