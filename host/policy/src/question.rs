//! What a policy is asked, and what it may answer.

use crate::client::{ClientFault, Excess, Sent};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::ending::Ending;
use crate::window::Window;
use base::metrics;
use base::rejection::Rejection;
use session::registry::Session;

use crate::record::notes::Notes;

/// What a policy answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Accept,
    /// Refuse the connection.
    Reject(Rejection),
}

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

/// How calls end, as metrics say it: the words of [`Outcome`] and of [`Failure::word`].
pub const OUTCOMES: [&str; 13] = [
    "accept",
    "reject",
    "client-fault",
    "abandoned",
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

impl Failure {
    /// Its word in metrics and records.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Busy => "busy",
            Self::Quarantined => "quarantined",
            Self::Limit(Limit::Time) => "limit-time",
            Self::Limit(Limit::Memory) => "limit-memory",
            Self::Limit(Limit::Table) => "limit-table",
            Self::Limit(Limit::Instances) => "limit-instances",
            Self::Limit(Limit::Attribute) => "limit-attribute",
            Self::Limit(Limit::HostcallFuel) => "limit-hostcall-fuel",
        }
    }
}

/// A limit of one policy call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// Wall clock, host calls included.
    #[error("time")]
    Time,
    /// Linear memory.
    #[error("memory")]
    Memory,
    /// Table elements.
    #[error("table elements")]
    Table,
    /// Core instances.
    #[error("instances")]
    Instances,
    /// The size of an attribute.
    #[error("bytes of an attribute")]
    Attribute,
    /// Bytes copied out of the guest.
    #[error("bytes copied to the host")]
    HostcallFuel,
}

/// Why a chain did not admit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The policy said no.
    Denied(Rejection),
    /// The policy broke, and fails closed.
    Failed(Failure),
    /// The keys that the policy needs could not be had.
    AuthUnavailable,
}

/// Outcome of one policy call, for the log entry of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The policy's name.
    pub policy: Arc<str>,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took, waiting for a slot included.
    pub took: Duration,
}

impl Record {
    /// Counts it.
    pub fn count(&self) {
        let outcome = match &self.outcome {
            Outcome::Accepted => "accept",
            Outcome::Rejected(_) => "reject",
            Outcome::ClientFault(_) => "client-fault",
            Outcome::FailedClosed(failure) | Outcome::FailedOpen(failure) => failure.word(),
            Outcome::Abandoned => "abandoned",
        };
        metrics::decided(&self.policy, outcome, self.took);
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It accepted.
    Accepted,
    /// It rejected, with this code.
    Rejected(String),
    /// What the client sent was more than the policy could hand on, and the connection was refused.
    ClientFault(ClientFault),
    /// It broke, and the connection was refused.
    FailedClosed(Failure),
    /// It broke, and the operator has that passed over.
    FailedOpen(Failure),
    /// Nobody waited for its answer any more.
    Abandoned,
}

/// What one call to a policy came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The policy decided.
    Decided(Decision),
    /// The policy decided, after it was told that keys could not be had.
    KeysUnavailable(Decision),
    /// The gateway ended the call because of what the client sent, and refuses the connection.
    ClientFault(ClientFault),
}

/// Something that decides about connections.
pub trait Policy: Send + Sync {
    /// Its name in the configuration.
    fn name(&self) -> &Arc<str>;

    /// What its failure means.
    fn on_failure(&self) -> OnFailure;

    /// Asks it at one stage. The future may be dropped at any point.
    fn ask<'a>(
        &'a self,
        session: &'a Arc<Session>,
        question: Question<'a>,
    ) -> BoxFuture<'a, Result<Answer, Failure>>;

    /// [`Policy::ask`], with what it asks the gateway taken down.
    fn ask_noted<'a>(
        &'a self,
        session: &'a Arc<Session>,
        question: Question<'a>,
        _notes: &'a Notes,
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        self.ask(session, question)
    }

    /// How long a call may take, including its wait in the queue.
    fn longest(&self) -> Duration {
        Duration::ZERO
    }

    /// The digest of its component, where it has one.
    fn digest(&self) -> Option<&Arc<str>> {
        None
    }
}

/// What a policy is asked.
#[derive(Debug, Clone, Copy)]
pub enum Question<'a> {
    /// `on-connect`
    Connect,
    /// `on-handshake`, with the client's handshake message.
    Handshake(&'a str),
    /// `on-frames`, with what the client sent lately.
    Frames(&'a Arc<Window>),
    /// `on-close`. There is nothing left to decide: a policy that was told
    /// has accepted.
    Close(&'a Arc<Ending>),
}

impl From<Question<'_>> for Sent {
    fn from(question: Question<'_>) -> Self {
        match question {
            Question::Connect => Self::Request,
            Question::Handshake(_) => Self::Handshake,
            Question::Frames(_) | Question::Close(_) => Self::Stream,
        }
    }
}

/// What a policy's failure means for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Refuse with `policy_failed`.
    Closed,
    /// Go on as if the policy had accepted.
    Open,
}

/// Why a call ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The policy broke.
    Failed(Failure),
    /// The client's input was more than the policy could hand on.
    ByClient(Excess),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
