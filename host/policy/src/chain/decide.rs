//! Decision of one policy: its calls, until what it claimed holds at all gateways.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{ChainRefusal, judge};
use crate::policy::Policy;
use crate::question::{Hook, Question};
use crate::record::DecidingRole;
use crate::recorder::Recorder;
use crate::shadow::Snapshot;
use crate::verdict::{OnFailure, Verdict};
use session::registry::{Mark, Registry, Session, Uncommitted};

/// Number of times that a policy is asked about a connection while others take the keys that it
/// wants.
const ROUNDS: usize = 4;
/// Maximum pause before a policy is asked once more that was asked twice.
const APART: Duration = Duration::from_millis(50);
/// Pause before claims of a stream that goes on are tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// One policy that decides about a connection.
pub(super) struct Deciding<'a> {
    pub(super) policy: &'a Arc<dyn Policy>,
    pub(super) role: DecidingRole,
    pub(super) session: &'a Arc<Session>,
    pub(super) registry: &'a Registry,
    pub(super) question: &'a Question,
    pub(super) recorder: &'a Recorder,
}

impl Deciding<'_> {
    /// Asks the policy. If what it claimed does not hold at all gateways, or it was told of claims
    /// that were undone, its call is undone and it is asked again. Only the last call is recorded.
    pub(super) async fn decide(&self) -> (Verdict, Result<(), ChainRefusal>) {
        let on_failure = self.policy.on_failure();
        let is_shared = self.registry.is_shared();
        self.registry.unlearn(self.session);
        let mut round = 1;
        loop {
            let before = (is_shared || on_failure == OnFailure::Open)
                .then(|| Snapshot::of(self.session, self.registry));
            let (policy, session) = (&**self.policy, self.session);
            let notes = self.recorder.notes_for(policy);
            let notes = match is_shared {
                true => notes.undoable(),
                false => notes,
            };
            let pending =
                self.recorder
                    .begin(policy, session, self.question, self.role, notes.clone());
            let verdict = policy.ask_noted(session, self.question, &notes).await;
            let unsettled = match &before {
                Some(before) if is_shared => self.settle(&verdict, before.mark()).await.err(),
                _ => None,
            };
            let Some(unsettled) = unsettled else {
                pending.finish(&verdict, on_failure);
                notes.take_effect(policy.name(), session, &verdict);
                if let (Verdict::Failed(_), Some(before)) = (&verdict, before) {
                    before.restore(session, self.registry);
                }
                let result = judge(&verdict, on_failure);
                return (verdict, result);
            };
            notes.take_back();
            if let Some(before) = before {
                before.restore(session, self.registry);
            }
            if unsettled == Uncommitted::Held && round < ROUNDS {
                pending.withdraw();
                self.registry.untell(self.session);
                if round > 1 {
                    // Two that take each other's keys must not meet again and again.
                    sleep(APART.mul_f64(rand::random::<f64>())).await;
                }
                round += 1;
                continue;
            }
            pending.without_effect(&verdict);
            return (verdict, Err(ChainRefusal::NotNow(unsettled.to_string())));
        }
    }

    /// Makes what the policy claimed hold at all gateways, and waits until what it was told is
    /// certain. A stream goes on while its policies decide, and so it does while the claims wait for
    /// the servers.
    async fn settle(&self, verdict: &Verdict, mark: Mark) -> Result<(), Uncommitted> {
        loop {
            match self.settle_once(verdict, mark).await {
                Err(Uncommitted::Away(why)) if self.question.hook() == Hook::Frames => {
                    tracing::debug!(why, "the claims of a stream are tried again");
                    sleep(PAUSE).await;
                }
                settled => return settled,
            }
        }
    }

    async fn settle_once(&self, verdict: &Verdict, mark: Mark) -> Result<(), Uncommitted> {
        match verdict {
            Verdict::Accept => self.registry.commit(self.session, mark).await?,
            // Its claims end, one way or another.
            Verdict::Failed(_) => return Ok(()),
            Verdict::Reject(_)
            | Verdict::KeysUnavailable(_)
            | Verdict::Unanswered(_)
            | Verdict::ClientFault(_) => {
                self.registry.give_way(self.session, mark);
            }
        }
        self.registry.answers_hold(self.session).await
    }
}

#[cfg(test)]
mod tests;
