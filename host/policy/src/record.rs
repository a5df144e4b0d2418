//! The decision record: one line of JSON for each decision of a policy.
//!
//! The line says who decided what, on what grounds, and what came of it, with
//! enough in it to decide again: what the policy could see, and what the
//! gateway answered when it asked. `sluice policy replay` does that.
//!
//! ```json
//! {"v":1,"time":"2026-11-23T09:12:07.512034Z","instance":"9f86d081","session":"01a2…","route":"ingest","generation":3,
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
//! `withheld` and have no value anywhere in the line (`redact`). Never
//! unescaped text of a guest or a client: the file is ASCII. Where a client sends
//! more credentials than are looked for, none of its texts is recorded. Claims of
//! tokens are in it, so a record is personal data; it is readable by its owner
//! only.
//!
//! What a line does not have cannot be decided about again: the value of a
//! credential, the payload of messages, and the calls that were too many.

use serde::{Deserialize, Serialize};

use crate::question::Hook;

mod calls;
pub mod index;
mod input;
pub mod notes;
mod verdict;

pub use calls::{
    Change, CounterError, Fault, HostAnswer, HostCall, ListError, RecordedAnswer, RecordedHolder,
};
pub use input::{FrameKind, Input, RecordedEnding, RecordedWindow};
pub use verdict::RecordedVerdict;

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
    /// The run of the gateway that decided. Empty in records of gateways that did not write it.
    #[serde(default)]
    pub instance: String,
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
    /// Who has signed that, where signatures are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// What was asked.
    #[serde(rename = "stage")]
    pub hook: Hook,
    /// Whether the answer counted.
    pub role: Role,
    /// What was answered.
    #[serde(flatten)]
    pub verdict: RecordedVerdict,
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

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The connection went on.
    Accepted,
    /// It was refused: in the policy's words, or because a service gave no answer.
    Refused,
    /// The policy failed, and the connection was refused.
    FailedClosed,
    /// The policy failed, and the connection went on.
    FailedOpen,
    /// Nothing.
    None,
}

/// [`Role`] of a policy whose answer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidingRole {
    /// The policy of the chain.
    Enforced,
    /// Its candidate, for this session.
    Canary,
}

#[cfg(test)]
mod tests;
