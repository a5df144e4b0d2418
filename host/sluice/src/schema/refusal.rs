//! The latest refusals.

use serde::{Deserialize, Serialize};

use super::{Claimed, Decision, time};
use gateway::refusals;

/// Answer of `GET /refusals`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Refusals {
    /// The latest refusals, the latest first.
    pub refusals: Vec<Refusal>,
}

/// A connection that ended with an error frame.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Session id, as the client got it in its error frame.
    pub session: String,
    /// Time of the end.
    pub at: String,
    /// Address and port of the client.
    pub client: String,
    /// User that a policy had verified.
    pub user: Option<String>,
    /// Tenant that a policy had verified.
    pub tenant: Option<String>,
    /// Identity that the token claims, if no user was verified.
    pub claimed: Option<Claimed>,
    /// `meeting_id` in the path, as the client sent it.
    pub meeting: Option<String>,
    /// `source` in the query.
    pub source: Option<String>,
    /// Name of the route; empty if none matched.
    pub route: String,
    /// Number of the generation.
    pub generation: u64,
    /// Stage in which the cause arose.
    pub stage: String,
    /// Name of the cause, as in the log.
    pub cause: String,
    /// The close code that was sent.
    pub close_code: u16,
    /// Code of the error frame.
    pub code: String,
    /// Sentence that the client was told.
    pub message: String,
    /// Whether the client was told that it may try again.
    pub retryable: bool,
    /// Detail for the operator.
    pub detail: String,
    /// What became of the Close: `confirmed`, `sent`, `not-read` or `failed`.
    pub delivery: String,
    /// Decisions of policies, in their order.
    pub decisions: Vec<Decision>,
}

impl Refusal {
    /// What was kept of a refusal.
    #[must_use]
    pub(crate) fn of(refusal: &refusals::Refusal) -> Self {
        Self {
            session: refusal.session.to_string(),
            at: time(refusal.at_ms),
            client: refusal.client.to_string(),
            user: refusal.user.clone(),
            tenant: refusal.tenant.clone(),
            claimed: refusal.claimed.clone().map(Claimed::of),
            meeting: refusal.meeting.clone(),
            source: refusal.source.clone(),
            route: refusal.route.to_string(),
            generation: refusal.generation,
            stage: refusal.stage.to_owned(),
            cause: refusal.cause.to_owned(),
            close_code: refusal.close_code,
            code: refusal.code.clone(),
            message: refusal.message.clone(),
            retryable: refusal.retryable,
            detail: refusal.detail.clone(),
            delivery: refusal.delivery.to_owned(),
            decisions: refusal.decisions.iter().map(Decision::of).collect(),
        }
    }

    /// Whether it is about this user, verified or claimed.
    #[must_use]
    pub(crate) fn is_of(&self, user: &str) -> bool {
        let claimed = self.claimed.as_ref();
        let claimed = claimed.and_then(|claimed| claimed.user.as_deref());
        self.user.as_deref() == Some(user) || claimed == Some(user)
    }
}
