//! What came of a call to a policy.

use std::time::Duration;

use crate::client::ClientFault;
use crate::destinations::AnswerError;
use base::rejection::Rejection;
use base::units;

/// What came of one call to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The policy accepts.
    Accept,
    /// The policy rejects the connection.
    Reject(Rejection),
    /// The policy rejects the connection after it was told that keys could not be had. The client
    /// is told that instead.
    KeysUnavailable(Rejection),
    /// A service gave no answer, and the operator wants the connection refused then. The policy
    /// did not decide.
    Unanswered(Unanswered),
    /// The gateway ended the call because of what the client sent, and refuses the connection.
    ClientFault(ClientFault),
    /// The policy broke.
    Failed(Failure),
}

impl Verdict {
    /// Its word in metrics: one of [`OUTCOMES`].
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject(_) | Self::KeysUnavailable(_) => "reject",
            Self::Unanswered(_) => "unanswered",
            Self::ClientFault(_) => "client-fault",
            Self::Failed(failure) => failure.word(),
        }
    }
}

/// A question to a service without an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the destination {destination} gave no answer: {error}")]
pub struct Unanswered {
    /// Name of the destination.
    pub destination: String,
    /// Why there is no answer.
    pub error: AnswerError,
}

/// The word in metrics for a call whose answer nobody waited for.
pub(crate) const ABANDONED: &str = "abandoned";

/// How calls end, as metrics say it: [`Verdict::word`], or that nobody waited for the answer.
pub const OUTCOMES: [&str; 14] = [
    "accept",
    "reject",
    "unanswered",
    "client-fault",
    ABANDONED,
    "trap",
    "busy",
    "quarantined",
    "limit-time",
    "limit-memory",
    "limit-table",
    "limit-instances",
    "limit-attribute",
    "limit-hostcall-fuel",
];

/// How a policy broke. The words are for the operator; the client learns only
/// that it did. What a client is to be blamed for is a [`ClientFault`] instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The guest trapped, or broke the rules of the component model.
    #[error("trapped: {0}")]
    Trap(String),
    /// It used up a limit that the operator set.
    #[error("exceeded its limit of {0}")]
    Limit(Limit),
    /// No instance slot became free in time.
    #[error("found no free instance slot in time")]
    Busy,
    /// It kept failing, and is left alone for a while.
    #[error("is in quarantine, because it kept failing")]
    Quarantined,
}

impl Failure {
    /// Its word in metrics and records.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Busy => "busy",
            Self::Quarantined => "quarantined",
            Self::Limit(Limit::Time(_) | Limit::Start(_)) => "limit-time",
            Self::Limit(Limit::Memory(_)) => "limit-memory",
            Self::Limit(Limit::Table(_)) => "limit-table",
            Self::Limit(Limit::Instances(_)) => "limit-instances",
            Self::Limit(Limit::Attribute(_)) => "limit-attribute",
            Self::Limit(Limit::HostcallFuel(_)) => "limit-hostcall-fuel",
        }
    }
}

/// A limit of one policy call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// Wall clock, host calls included.
    #[error("time (timeout = \"{}\")", units::shown_duration(*.0))]
    Time(Duration),
    /// Wall clock of trying the policy out, which has more than a call if a call has little.
    #[error("time ({}, the least that a policy has to start in)", units::shown_duration(*.0))]
    Start(Duration),
    /// Linear memory, in bytes.
    #[error("memory (max_memory = \"{}\")", units::shown_size(*.0))]
    Memory(usize),
    /// Table elements.
    #[error("table elements (max_table_elements = {0})")]
    Table(usize),
    /// Core instances.
    #[error("instances (max_instances = {0})")]
    Instances(usize),
    /// The size of an attribute, in bytes.
    #[error("bytes of an attribute (max_attribute = \"{}\")", units::shown_size(*.0))]
    Attribute(usize),
    /// Bytes copied out of the guest.
    #[error("bytes copied to the host (hostcall_fuel = \"{}\")", units::shown_size(*.0))]
    HostcallFuel(usize),
}

/// What a policy's failure means for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Refuse with `policy_failed`.
    Closed,
    /// Go on as if the policy had accepted.
    Open,
}
