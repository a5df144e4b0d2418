//! Trying a policy out on real connections.
//!
//! A candidate stands beside the policy that it is to replace, or alone where
//! there is none yet. It is asked what that one is asked, after it, on a copy
//! of the session as that was before, and its answer is compared and thrown
//! away: it sets no attribute, makes no claim, evicts nobody, and no client ever
//! waits for it. Only its own counters count, which nobody else reads; so that
//! it can take back what it counted, it is told how a connection ended.
//!
//! For a share of the sessions it can be the other way round: there the
//! candidate decides, and the policy that it is to replace is watched.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::record::{Comparison, Effect, Pairs, RecordedVerdict, Role};
use crate::policy::Policy;
use crate::question::Question;
use crate::recorder::Recorder;
use crate::recorder::draft::Draft;
use crate::settings::Share;
use crate::verdict::Verdict;
use base::metrics;
use session::registry::{Mark, Registry, Session};

/// Candidates that are asked at once. Beyond these they are not asked, which is
/// counted: what they cost is bounded, whatever the traffic.
const AT_ONCE: usize = 16;

/// Permits for calls of candidates that are only watched. Shared by all chains.
#[derive(Clone)]
pub struct ShadowPermits(Arc<Semaphore>);

impl Default for ShadowPermits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// A policy that is tried out.
#[derive(Clone)]
pub struct Candidate {
    policy: Arc<dyn Policy>,
    decides_for: Share,
    permits: ShadowPermits,
}

impl Candidate {
    /// A policy that decides about a share of the sessions, and is watched
    /// otherwise.
    #[must_use]
    pub fn new(policy: Arc<dyn Policy>, decides_for: Share, permits: ShadowPermits) -> Self {
        Self {
            policy,
            decides_for,
            permits,
        }
    }

    pub(super) fn policy(&self) -> &Arc<dyn Policy> {
        &self.policy
    }

    pub(super) fn decides_about(&self, session: &Session) -> bool {
        self.decides_for.contains(&session.facts.session_id)
    }

    /// `policy`, as the one that is only watched.
    pub(super) fn watching<'a>(&'a self, policy: &'a Arc<dyn Policy>) -> Beside<'a> {
        Beside {
            policy,
            permits: &self.permits,
        }
    }
}

/// Somebody who is only watched.
pub(super) struct Beside<'a> {
    policy: &'a Arc<dyn Policy>,
    permits: &'a ShadowPermits,
}

/// What a session had before somebody decided: attributes and claims.
pub(super) struct Snapshot {
    attributes: Pairs,
    mark: Mark,
}

impl Snapshot {
    pub(super) fn of(session: &Session, registry: &Registry) -> Self {
        Self {
            attributes: session.facts.attributes(),
            mark: registry.mark(session),
        }
    }

    /// Position among the session's claims.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Undoes what was done since, for a call that fails open, or is made again.
    pub(super) fn restore(self, session: &Arc<Session>, registry: &Registry) {
        registry.undo(session, self.mark);
        session.facts.restore_attributes(self.attributes);
    }
}

impl Beside<'_> {
    /// Tells in the background how a connection ended.
    pub(super) fn tell(self, session: &Arc<Session>, question: &Question, recorder: &Recorder) {
        let before = Snapshot {
            attributes: session.facts.attributes(),
            mark: Mark::END,
        };
        self.ask(session, before, question, None, recorder);
    }

    /// Asks in the background what was asked, and compares. Where there is nothing to compare
    /// with, all that counts is whether it broke.
    pub(super) fn ask(
        self,
        session: &Arc<Session>,
        Snapshot { attributes, mark }: Snapshot,
        question: &Question,
        enforced: Option<Verdict>,
        recorder: &Recorder,
    ) {
        let Ok(permit) = Arc::clone(&self.permits.0).try_acquire_owned() else {
            metrics::shadowed(self.policy.name(), "skipped");
            return;
        };
        let policy = Arc::clone(self.policy);
        // Now, while who was displaced is known.
        let shadow = Session::shadow(session, attributes.clone(), mark);
        let question = question.clone();
        let recorder = recorder.clone();
        let asking = async move {
            let notes = recorder.notes();
            let began = Instant::now();
            let verdict = policy.ask_noted(&shadow, &question, &notes).await;
            let compared = match &enforced {
                Some(enforced) => Some(compare(&enforced.into(), &(&verdict).into())),
                None => matches!(verdict, Verdict::Failed(_)).then_some(Comparison::Failed),
            };
            if let Some(compared) = compared {
                metrics::shadowed(policy.name(), compared.word());
            }
            recorder.hand_in(|generation| Draft {
                session: shadow,
                generation,
                policy: Arc::clone(policy.name()),
                digest: policy.digest().cloned(),
                signer: policy.signer().cloned(),
                secrets: policy.secrets(),
                question,
                attributes,
                role: Role::Shadow,
                verdict: Some(verdict),
                compared,
                effect: Effect::None,
                at: SystemTime::now(),
                took: began.elapsed(),
                taken: notes.take(),
            });
            drop(permit);
        };
        // What it logs is about this connection, which may be gone by then.
        tokio::spawn(asking.in_current_span());
    }
}

/// The words for the client may differ; what is done about him may not.
#[must_use]
pub fn compare(enforced: &RecordedVerdict, shadow: &RecordedVerdict) -> Comparison {
    match (enforced, shadow) {
        (_, RecordedVerdict::Failed { .. } | RecordedVerdict::Abandoned) => Comparison::Failed,
        // Both would have had the client try again, whichever service gave no answer.
        (RecordedVerdict::Accept, RecordedVerdict::Accept)
        | (RecordedVerdict::Unanswered { .. }, RecordedVerdict::Unanswered { .. }) => {
            Comparison::Agree
        }
        (
            RecordedVerdict::Reject {
                close_code, code, ..
            },
            RecordedVerdict::Reject {
                close_code: other_close_code,
                code: other_code,
                ..
            },
        ) if close_code == other_close_code && code == other_code => Comparison::Agree,
        _ => Comparison::Differ,
    }
}

#[cfg(test)]
mod tests;
