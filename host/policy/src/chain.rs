//! An ordered chain of policies.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ending::Ending;
use super::record::Place;
use super::record::Verdict;
use super::shadow::{Beside, Candidate, Shown};
use crate::question::OnFailure;
use crate::question::{Answer, Decision, Failure, Outcome, Policy, Question, Record, Refused};
use crate::recorder::Recorder;
use base::text;
use session::registry::{Mark, Registry, Session};

/// See the module.
#[derive(Clone, Default)]
pub struct Chain {
    steps: Vec<Step>,
    recorder: Recorder,
    /// The policies that know who a client is.
    identified_by: Arc<[String]>,
}

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
    fn longest(&self) -> Duration {
        let candidate = self.candidate.as_ref().map(Candidate::policy);
        let both = self.stable.iter().chain(candidate);
        both.map(|policy| policy.longest())
            .max()
            .unwrap_or_default()
    }

    fn cast<'a>(&'a self, session: &Session) -> Cast<'a> {
        let stable = self.stable.as_ref();
        match &self.candidate {
            Some(candidate) if candidate.decides_about(session) => Cast {
                decides: Some((candidate.policy(), Place::Canary)),
                watched: stable.map(|policy| candidate.watching(policy)),
            },
            candidate => Cast {
                decides: stable.map(|policy| (policy, Place::Enforced)),
                watched: candidate
                    .as_ref()
                    .map(|candidate| candidate.watching(candidate.policy())),
            },
        }
    }
}

/// Who decides about a session, and who is only watched.
struct Cast<'a> {
    decides: Option<(&'a Arc<dyn Policy>, Place)>,
    watched: Option<Beside<'a>>,
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
    /// [`Refused`] by the first that did not accept.
    pub async fn ask(
        &self,
        session: &Arc<Session>,
        registry: &Registry,
        question: Question<'_>,
        records: &mut Vec<Record>,
    ) -> Result<(), Refused> {
        for step in &self.steps {
            let Cast { decides, watched } = step.cast(session);
            let before = Before::of(session, registry);
            let was_named = self.user(session).is_some();
            let shown = watched.as_ref().map(|_| Shown {
                attributes: before.attributes.clone(),
                mark: before.mark,
            });
            let (on_the_record, verdict) = match decides {
                None => (Verdict::Accept, Ok(())),
                Some((policy, place)) => {
                    let call = Call::begin(policy, records);
                    let notes = self.recorder.notes();
                    let pending =
                        self.recorder
                            .begin(&**policy, session, question, place, notes.clone());
                    let answer = policy.ask_noted(session, question, &notes).await;
                    let on_the_record = Verdict::from(&answer);
                    let (outcome, verdict) = judge(answer, policy.on_failure());
                    pending.finish(on_the_record.clone(), &outcome);
                    if matches!(outcome, Outcome::FailedOpen(_)) {
                        before.restore(session, registry);
                    }
                    call.end(outcome);
                    if !was_named && let Some(user) = self.user(session) {
                        session.identify(&user);
                        // From here on every line about this connection says so.
                        tracing::Span::current().record("user", text::clean(&user, 128));
                    }
                    (on_the_record, verdict)
                }
            };
            if let (Some(watched), Some(shown)) = (watched, shown) {
                watched.ask(session, shown, question, on_the_record, &self.recorder);
            }
            verdict?;
        }
        Ok(())
    }

    /// Tells every policy how a connection ended. One that breaks keeps no
    /// other from being told. Who is only watched is told too, so that what it
    /// has counted it can take back; there is nothing to agree about.
    pub async fn tell(&self, session: &Arc<Session>, ending: &Arc<Ending>) -> Vec<Record> {
        let mut records = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let Cast { decides, watched } = step.cast(session);
            if let Some(watched) = watched {
                watched.tell(session, ending, &self.recorder);
            }
            let Some((policy, place)) = decides else {
                continue;
            };
            let started = Instant::now();
            let question = Question::Close(ending);
            let notes = self.recorder.notes();
            let pending = self
                .recorder
                .begin(&**policy, session, question, place, notes.clone());
            let answer = policy.ask_noted(session, question, &notes).await;
            let on_the_record = Verdict::from(&answer);
            let outcome = match answer {
                Ok(Answer::ClientFault(fault)) => Outcome::ClientFault(fault),
                Ok(_) => Outcome::Accepted,
                Err(failure) => Outcome::FailedOpen(failure),
            };
            pending.finish(on_the_record, &outcome);
            records.push(Record {
                policy: Arc::clone(policy.name()),
                outcome,
                took: started.elapsed(),
            });
        }
        records
    }
}

/// A call that is under way. It is told of even when nobody waits for its answer
/// any more: whoever looks for what took so long must find it.
struct Call<'a> {
    policy: &'a Arc<dyn Policy>,
    records: &'a mut Vec<Record>,
    began: Instant,
    outcome: Outcome,
}

impl<'a> Call<'a> {
    fn begin(policy: &'a Arc<dyn Policy>, records: &'a mut Vec<Record>) -> Self {
        Self {
            policy,
            records,
            began: Instant::now(),
            outcome: Outcome::Abandoned,
        }
    }

    fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.records.push(Record {
            policy: Arc::clone(self.policy.name()),
            outcome: std::mem::replace(&mut self.outcome, Outcome::Abandoned),
            took: self.began.elapsed(),
        });
    }
}

fn judge(answer: Result<Answer, Failure>, on_failure: OnFailure) -> (Outcome, Result<(), Refused>) {
    match answer {
        Ok(Answer::Decided(Decision::Accept) | Answer::KeysUnavailable(Decision::Accept)) => {
            (Outcome::Accepted, Ok(()))
        }
        Ok(Answer::Decided(Decision::Reject(rejection))) => (
            Outcome::Rejected(rejection.code.clone()),
            Err(Refused::Denied(rejection)),
        ),
        Ok(Answer::KeysUnavailable(Decision::Reject(_))) => (
            Outcome::Rejected("auth_unavailable".to_owned()),
            Err(Refused::AuthUnavailable),
        ),
        // To pass that over would let a client choose not to be asked about.
        Ok(Answer::ClientFault(fault)) => (
            Outcome::ClientFault(fault),
            Err(Refused::Denied(fault.rejection())),
        ),
        Err(failure) => match on_failure {
            OnFailure::Closed => (
                Outcome::FailedClosed(failure.clone()),
                Err(Refused::Failed(failure)),
            ),
            OnFailure::Open => (Outcome::FailedOpen(failure), Ok(())),
        },
    }
}

/// What a call that fails open must leave untouched.
struct Before {
    mark: Mark,
    attributes: Vec<(String, String)>,
}

impl Before {
    fn of(session: &Session, registry: &Registry) -> Self {
        Self {
            mark: registry.mark(session),
            attributes: session.facts.attributes(),
        }
    }

    fn restore(self, session: &Arc<Session>, registry: &Registry) {
        registry.undo(session, self.mark);
        session.facts.restore_attributes(self.attributes);
    }
}
