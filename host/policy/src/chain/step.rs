//! One place of a chain: who decides there, and who is only watched.

use std::sync::Arc;
use std::time::Duration;

use crate::policy::Policy;
use crate::record::DecidingRole;
use crate::shadow::{Beside, Candidate};
use session::registry::Session;

/// One place of a chain.
#[derive(Clone)]
pub struct Step {
    /// Who stands there; nobody, where a candidate is alone.
    stable: Option<Arc<dyn Policy>>,
    candidate: Option<Candidate>,
}

impl Step {
    /// A policy that decides.
    #[must_use]
    pub fn of(policy: Arc<dyn Policy>) -> Self {
        Self {
            stable: Some(policy),
            candidate: None,
        }
    }

    /// A candidate with nobody in its place yet.
    #[must_use]
    pub fn alone(candidate: Candidate) -> Self {
        Self {
            stable: None,
            candidate: Some(candidate),
        }
    }

    /// The same, with a candidate beside it.
    #[must_use]
    pub fn beside(self, candidate: Candidate) -> Self {
        Self {
            candidate: Some(candidate),
            ..self
        }
    }

    /// Of whoever of the two decides.
    pub(super) fn longest(&self) -> Duration {
        let candidate = self.candidate.as_ref().map(Candidate::policy);
        let both = self.stable.iter().chain(candidate);
        both.map(|policy| policy.longest())
            .max()
            .unwrap_or_default()
    }

    pub(super) fn cast<'a>(&'a self, session: &Session) -> Cast<'a> {
        let stable = self.stable.as_ref();
        match &self.candidate {
            Some(candidate) if candidate.decides_about(session) => Cast {
                decides: Some((candidate.policy(), DecidingRole::Canary)),
                watched: stable.map(|policy| candidate.watching(policy)),
            },
            candidate => Cast {
                decides: stable.map(|policy| (policy, DecidingRole::Enforced)),
                watched: candidate
                    .as_ref()
                    .map(|candidate| candidate.watching(candidate.policy())),
            },
        }
    }
}

/// Who decides about a session, and who is only watched.
pub(super) struct Cast<'a> {
    pub(super) decides: Option<(&'a Arc<dyn Policy>, DecidingRole)>,
    pub(super) watched: Option<Beside<'a>>,
}
