//! An ordered chain of policies.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::policy::Policy;
use crate::question::{Ending, Hook, Question};
use crate::recorder::Recorder;
use crate::shadow::Snapshot;
use crate::verdict::{ABANDONED, Failure, OnFailure, Unanswered, Verdict};
use base::rejection::Rejection;
use base::{metrics, text};
use decide::Deciding;
use session::registry::{Registry, Session, unix_ms};
use step::Cast;

mod decide;
mod step;

pub use step::Step;

/// Policies of one hook of a route, in the order in which they are asked.
#[derive(Clone, Default)]
pub struct Chain {
    steps: Vec<Step>,
    recorder: Recorder,
    /// The policies that know who a client is.
    identified_by: Arc<[String]>,
}

impl Chain {
    /// A chain of these policies, in this order.
    #[must_use]
    pub fn new(policies: Vec<Arc<dyn Policy>>) -> Self {
        Self::of(policies.into_iter().map(Step::of).collect())
    }

    /// A chain of these places.
    #[must_use]
    pub fn of(steps: Vec<Step>) -> Self {
        Self {
            steps,
            identified_by: Arc::default(),
            recorder: Recorder::default(),
        }
    }

    /// The same, with its decisions recorded.
    #[must_use]
    pub fn recorded(self, recorder: Recorder) -> Self {
        Self { recorder, ..self }
    }

    /// The same, where these policies know who a client is.
    #[must_use]
    pub fn identified_by(self, policies: &[String]) -> Self {
        Self {
            identified_by: policies.into(),
            ..self
        }
    }

    /// Who the client is, as far as is known.
    fn user(&self, session: &Session) -> Option<String> {
        if self.identified_by.is_empty() {
            return None;
        }
        let attributes = session.facts.attributes_of(&self.identified_by);
        let mut attributes = attributes.into_iter();
        attributes
            .find(|(name, _)| name.ends_with(".user_id"))
            .map(|(_, user)| user)
    }

    /// Whether nobody is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How long all of it may take.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.steps.iter().map(Step::longest).sum()
    }

    /// Asks the policies in order. What each did is added to `records`, which
    /// therefore is right even when the caller gives up waiting.
    ///
    /// # Errors
    /// The refusal of the first that did not accept.
    pub async fn ask(
        &self,
        session: &Arc<Session>,
        registry: &Registry,
        question: &Question,
        records: &mut Vec<Record>,
    ) -> Result<(), ChainRefusal> {
        // A client that renews its token is known before the policies say so again.
        let mut is_named = session.user().is_some() || self.user(session).is_some();
        for step in &self.steps {
            let Cast { decides, watched } = step.cast(session);
            let watched = watched.map(|watched| (watched, Snapshot::of(session, registry)));
            let (result, enforced) = match decides {
                None => (Ok(()), watched.is_some().then_some(Verdict::Accept)),
                Some((policy, role)) => {
                    let call = OngoingCall::begin(policy, records);
                    let deciding = Deciding {
                        policy,
                        role,
                        session,
                        registry,
                        question,
                        recorder: &self.recorder,
                    };
                    let (verdict, result) = deciding.decide().await;
                    let enforced = watched.is_some().then(|| verdict.clone());
                    call.end(verdict);
                    if !is_named && let Some(user) = self.user(session) {
                        is_named = true;
                        session.identify(&user);
                        // From here on every line about this connection says so.
                        tracing::Span::current().record("user", text::clean(&user, 128));
                    }
                    (result, enforced)
                }
            };
            // An answer that the gateway could not act on is compared with none.
            if let Some((watched, before)) = watched
                && !matches!(result, Err(ChainRefusal::NotNow(_)))
            {
                watched.ask(session, before, question, enforced, &self.recorder);
            }
            result?;
        }
        Ok(())
    }

    /// Tells every policy how a connection ended. One that breaks keeps no
    /// other from being told. Who is only watched is told too, so that what it
    /// has counted it can take back; there is nothing to agree about.
    pub async fn tell(&self, session: &Arc<Session>, ending: Ending) -> Vec<Record> {
        let question = Question::Close(Arc::new(ending));
        let mut records = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let Cast { decides, watched } = step.cast(session);
            if let Some(watched) = watched {
                watched.tell(session, &question, &self.recorder);
            }
            let Some((policy, role)) = decides else {
                continue;
            };
            let started = Instant::now();
            let notes = self.recorder.notes_for(&**policy);
            let pending = self
                .recorder
                .begin(&**policy, session, &question, role, notes.clone());
            let verdict = policy.ask_noted(session, &question, &notes).await;
            // There is nobody left to refuse.
            let on_failure = OnFailure::Open;
            pending.finish(&verdict, on_failure);
            notes.take_effect(policy.name(), session, &verdict);
            records.push(Record {
                policy: Arc::clone(policy.name()),
                digest: policy.digest().cloned(),
                at_ms: unix_ms(),
                verdict: Some(verdict),
                on_failure,
                took: started.elapsed(),
            });
        }
        records
    }
}

/// Why a chain does not admit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainRefusal {
    /// A policy said no, or the client sent more than one could hand on.
    Denied(Rejection),
    /// A policy broke, and fails closed.
    Failed(Failure),
    /// The keys that a policy needs could not be had.
    AuthUnavailable,
    /// A service that a policy asks gave no answer.
    Unanswered(Unanswered),
    /// It is not known now who holds what a policy claimed, for this reason.
    NotNow(String),
}

fn judge(verdict: &Verdict, on_failure: OnFailure) -> Result<(), ChainRefusal> {
    match verdict {
        Verdict::Accept => Ok(()),
        Verdict::Reject(rejection) => Err(ChainRefusal::Denied(rejection.clone())),
        Verdict::KeysUnavailable(_) => Err(ChainRefusal::AuthUnavailable),
        Verdict::Unanswered(unanswered) => Err(ChainRefusal::Unanswered(unanswered.clone())),
        // To pass that over would let a client choose not to be asked about.
        Verdict::ClientFault(fault) => Err(ChainRefusal::Denied(fault.rejection())),
        Verdict::Failed(failure) => match on_failure {
            OnFailure::Closed => Err(ChainRefusal::Failed(failure.clone())),
            OnFailure::Open => Ok(()),
        },
    }
}

/// One call of a policy, for the log entry of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The policy's name.
    pub policy: Arc<str>,
    /// Digest of its component, where it has one.
    pub digest: Option<Arc<str>>,
    /// Time of the answer, in milliseconds since 1970.
    pub at_ms: u64,
    /// What came of the call; `None` where nobody waited for the answer any more.
    pub verdict: Option<Verdict>,
    /// What a failure means for the connection.
    pub on_failure: OnFailure,
    /// How long the call took, waiting for a slot included.
    pub took: Duration,
}

impl Record {
    /// Counts it as a call at this hook.
    pub fn count(&self, hook: Hook) {
        metrics::decided(&self.policy, hook.name(), self.outcome(), self.took);
    }

    /// Name of what came of the call in metrics.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        self.verdict.as_ref().map_or(ABANDONED, Verdict::word)
    }
}

/// A call that is under way. It is told of even when nobody waits for its answer
/// any more: whoever looks for what took so long must find it.
struct OngoingCall<'a> {
    policy: &'a Arc<dyn Policy>,
    records: &'a mut Vec<Record>,
    began: Instant,
    verdict: Option<Verdict>,
}

impl<'a> OngoingCall<'a> {
    fn begin(policy: &'a Arc<dyn Policy>, records: &'a mut Vec<Record>) -> Self {
        Self {
            policy,
            records,
            began: Instant::now(),
            verdict: None,
        }
    }

    fn end(mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }
}

impl Drop for OngoingCall<'_> {
    fn drop(&mut self) {
        self.records.push(Record {
            policy: Arc::clone(self.policy.name()),
            digest: self.policy.digest().cloned(),
            at_ms: unix_ms(),
            verdict: self.verdict.take(),
            on_failure: self.policy.on_failure(),
            took: self.began.elapsed(),
        });
    }
}
