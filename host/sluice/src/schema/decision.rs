//! What is the same in sessions and in refusals: decisions of policies, and claimed identities.

use serde::{Deserialize, Serialize};

use super::time;
use policy::{Record, Verdict};
use session::facts;

/// Decision of a policy about a connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Name of the policy.
    pub policy: String,
    /// `sha256:` and the digest of its component.
    pub digest: Option<String>,
    /// Time of the answer.
    pub at: String,
    /// `accept`, `reject`, or how the call failed: the label of `sluice_policy_decisions_total`.
    pub outcome: String,
    /// Code of a rejection.
    pub code: Option<String>,
    /// Sentence of a rejection, or what went wrong.
    pub message: Option<String>,
    /// Duration of the call with its wait for a slot, in microseconds.
    pub duration_us: u64,
}

impl Decision {
    /// Decision of a call.
    #[must_use]
    pub(crate) fn of(record: &Record) -> Self {
        let (code, message) = match &record.verdict {
            Some(Verdict::Reject(rejection) | Verdict::KeysUnavailable(rejection)) => (
                Some(rejection.code.clone()),
                Some(rejection.message.clone()),
            ),
            Some(Verdict::ClientFault(fault)) => {
                let rejection = fault.rejection();
                (Some(rejection.code), Some(rejection.message))
            }
            Some(Verdict::Unanswered(unanswered)) => (None, Some(unanswered.to_string())),
            Some(Verdict::Failed(failure)) => (None, Some(failure.to_string())),
            Some(Verdict::Accept) | None => (None, None),
        };
        let shown = |text: String| base::text::clean(&text, 512);
        Self {
            policy: record.policy.to_string(),
            digest: record.digest.as_ref().map(ToString::to_string),
            at: time(record.at_ms),
            outcome: record.outcome().to_owned(),
            code: code.map(shown),
            message: message.map(shown),
            duration_us: u64::try_from(record.took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Identity that a token claims. Nobody has verified it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Claimed {
    /// Claim `user_id`, or else `sub`.
    pub user: Option<String>,
    /// Claim `tenant_id`.
    pub tenant: Option<String>,
    /// Always `false`.
    pub verified: bool,
}

impl Claimed {
    /// Identity of the client's token.
    #[must_use]
    pub(crate) fn of(claimed: facts::Claimed) -> Self {
        let facts::Claimed { user, tenant } = claimed;
        Self {
            user,
            tenant,
            verified: false,
        }
    }
}
