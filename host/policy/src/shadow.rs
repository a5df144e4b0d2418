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

use super::ending::Ending;
use super::record::{Comparison, Effect, Pairs, Role, Verdict};
use crate::question::{Policy, Question};
use crate::recorder::Recorder;
use crate::recorder::draft::{Asked, Draft};
use crate::settings::Share;
use base::metrics;
use session::registry::{Mark, Session};

/// Candidates that are asked at once. Beyond these they are not asked, which is
/// counted: what they cost is bounded, whatever the traffic.
const AT_ONCE: usize = 16;

/// Room for those who are only watched. Shared by all chains.
#[derive(Clone)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// A policy that is tried out.
#[derive(Clone)]
pub struct Candidate {
    policy: Arc<dyn Policy>,
    decides_for: Share,
    room: Room,
}

impl Candidate {
    /// A policy that decides about a share of the sessions, and is watched
    /// otherwise.
    #[must_use]
    pub fn new(policy: Arc<dyn Policy>, decides_for: Share, room: Room) -> Self {
        Self {
            policy,
            decides_for,
            room,
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
            room: &self.room,
        }
    }
}

/// Somebody who is only watched.
pub(super) struct Beside<'a> {
    policy: &'a Arc<dyn Policy>,
    room: &'a Room,
}

/// How things stood before somebody decided.
pub(super) struct Shown {
    pub(super) attributes: Pairs,
    pub(super) mark: Mark,
}

impl Beside<'_> {
    /// Asks in the background what was asked, and compares.
    pub(super) fn ask(
        self,
        session: &Arc<Session>,
        shown: Shown,
        question: Question<'_>,
        enforced: Verdict,
        recorder: &Recorder,
    ) {
        self.watch(session, shown, question, Some(enforced), recorder);
    }

    /// Tells in the background how a connection ended.
    pub(super) fn tell(self, session: &Arc<Session>, ending: &Arc<Ending>, recorder: &Recorder) {
        let shown = Shown {
            attributes: session.facts.attributes(),
            mark: Mark::END,
        };
        self.watch(session, shown, Question::Close(ending), None, recorder);
    }

    /// Where there is nothing to compare with, all that counts is whether it
    /// broke.
    fn watch(
        self,
        session: &Arc<Session>,
        Shown { attributes, mark }: Shown,
        question: Question<'_>,
        enforced: Option<Verdict>,
        recorder: &Recorder,
    ) {
        let Ok(permit) = Arc::clone(&self.room.0).try_acquire_owned() else {
            metrics::shadowed(self.policy.name(), "skipped");
            return;
        };
        let policy = Arc::clone(self.policy);
        // Now, while who was displaced is known.
        let shadow = Session::shadow(session, attributes.clone(), mark);
        let asked = Asked::from(question);
        let recorder = recorder.clone();
        let asking = async move {
            let notes = recorder.notes();
            let began = Instant::now();
            let answer = policy.ask_noted(&shadow, asked.question(), &notes).await;
            let verdict = Verdict::from(&answer);
            let compared = match &enforced {
                Some(enforced) => Some(compare(enforced, &verdict)),
                None => answer.is_err().then_some(Comparison::Failed),
            };
            if let Some(compared) = compared {
                metrics::shadowed(policy.name(), compared.word());
            }
            recorder.hand_in(|generation| Draft {
                session: shadow,
                generation,
                policy: Arc::clone(policy.name()),
                digest: policy.digest().cloned(),
                asked,
                attributes,
                role: Role::Shadow,
                verdict,
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
pub fn compare(enforced: &Verdict, shadow: &Verdict) -> Comparison {
    match (enforced, shadow) {
        (_, Verdict::Failed { .. } | Verdict::Abandoned) => Comparison::Failed,
        (Verdict::Accept, Verdict::Accept) => Comparison::Agree,
        (
            Verdict::Reject {
                close_code, code, ..
            },
            Verdict::Reject {
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
