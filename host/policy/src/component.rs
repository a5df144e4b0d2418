//! Policy that is a WebAssembly component. Every call gets a fresh instance with limits, which is
//! dropped afterwards.

use std::sync::Arc;
use std::time::Duration;

use call::{Asked, Call};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::bindings::{close, configured, connect, frames, handshake};
use super::breaker::Breaker;
use super::budget::Budgeted;
use super::call_queue::CallQueue;
use super::client::Sent;
use super::convert;
use super::engine::Engine;
use super::pace::Pace;
use super::record::notes::Notes;
use super::references::References;
use super::state::{Settings, State, Subject};
use super::world::World;
use crate::client::ClientFault;
use crate::question::{Answer, Failure, Limit, Policy, Question};
use crate::question::{Ended, OnFailure};
use crate::settings::{Grant, PolicyLimits};
use session::registry::{Client, Session};

mod call;

/// The hooks that a component has, ready to be instantiated.
pub struct Hooks {
    /// `on-connect`
    pub connect: Option<connect::ConnectPolicyPre<State>>,
    /// `on-handshake`
    pub handshake: Option<handshake::HandshakePolicyPre<State>>,
    /// `on-frames`
    pub frames: Option<frames::FramesPolicyPre<State>>,
    /// `on-close`
    pub close: Option<close::ClosePolicyPre<State>>,
    /// `lifecycle`
    pub lifecycle: Option<configured::ConfiguredPolicyPre<State>>,
}

impl Hooks {
    /// Whether there is nothing that a route could name it for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            connect,
            handshake,
            frames,
            close,
            lifecycle: _,
        } = self;
        connect.is_none() && handshake.is_none() && frames.is_none() && close.is_none()
    }
}

/// What one call took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of linear memory in the end, all memories together.
    pub memory: usize,
    /// Roughly the instructions that it ran, where the engine counts them: the
    /// same for the same call, on any machine.
    pub fuel: Option<u64>,
}

/// Policy that is a WebAssembly component.
pub struct ComponentPolicy {
    engine: Arc<Engine>,
    queue: CallQueue,
    /// Not of the settings: an import is to reach it by way of the notes only.
    world: Arc<dyn World>,
    settings: Arc<Settings>,
    hooks: Arc<Hooks>,
    breaker: Arc<Breaker>,
    pace: Pace,
    references: References,
}

impl ComponentPolicy {
    /// A policy of these hooks, whose calls to the host work on `world`.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        world: Arc<dyn World>,
        settings: Settings,
        hooks: Hooks,
    ) -> Self {
        let PolicyLimits {
            max_calls,
            max_queue,
            ..
        } = settings.limits;
        let breaker = Breaker::new(Arc::clone(&settings.name), settings.quarantine);
        let pace = Pace::of(Arc::clone(&settings.name));
        Self {
            engine,
            queue: CallQueue::new(max_calls, max_queue),
            world,
            settings: Arc::new(settings),
            hooks: Arc::new(hooks),
            breaker: Arc::new(breaker),
            pace,
            references: References::default(),
        }
    }

    /// The policy, which declared these references when it was tried out.
    #[must_use]
    pub(crate) fn declaring(self, references: References) -> Self {
        Self { references, ..self }
    }

    /// What its options refer to.
    #[must_use]
    pub fn references(&self) -> &References {
        &self.references
    }

    /// Counts the failures of `before` as its own, if nothing about it has
    /// changed: a reload for another's sake ends no quarantine. What was
    /// changed may have been repaired, and begins anew.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        if self.settings != before.settings {
            return self;
        }
        Self {
            breaker: Arc::clone(&before.breaker),
            ..self
        }
    }

    /// The hooks that it has.
    #[must_use]
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// What it may use beyond what every policy may.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.settings.grants
    }

    /// Starts an instance for each hook, and asks whether the configuration is
    /// usable, if there is a hook for that. So what cannot even start, or has a
    /// hook of the wrong type, is no surprise for the first caller. What its options refer to is
    /// what the policy declared while it was asked.
    ///
    /// # Errors
    /// How the policy broke; in the inner result, what it does not like.
    pub async fn try_out(&self) -> Result<Result<References, String>, Failure> {
        // Nobody waits in a call's time for this, and the first call of all
        // pays for what later ones find ready.
        let limit = self.settings.limits.timeout.max(Duration::from_secs(2));
        let call = self.call(&Notes::unwanted());
        let tried = self.bounded(None, limit, call.try_out()).await;
        tried.map_err(|ended| match ended {
            Ended::Failed(failure) => failure,
            // There is no client whose fault it could be.
            Ended::ByClient(excess) => Failure::Trap(excess.to_string()),
        })
    }

    /// Asks it, as [`Policy::ask`] does, and tells what that took. It is asked
    /// even if it keeps failing.
    ///
    /// # Errors
    /// How it broke.
    pub async fn examine(
        &self,
        session: &Arc<Session>,
        question: Question<'_>,
    ) -> Result<(Answer, Usage), Failure> {
        self.decide(session, question, &Notes::unwanted()).await
    }

    async fn unless_away(
        &self,
        session: &Arc<Session>,
        question: Question<'_>,
        notes: &Notes,
    ) -> Result<Answer, Failure> {
        let attempt = self.breaker.enter(|| Client::of(session))?;
        let decided = self.decide(session, question, notes).await;
        let decided = decided.map(|(answer, _)| answer);
        attempt.report(&decided, || Client::of(session));
        decided
    }

    async fn decide(
        &self,
        session: &Arc<Session>,
        question: Question<'_>,
        notes: &Notes,
    ) -> Result<(Answer, Usage), Failure> {
        let call = self
            .call(notes)
            .ask(subject(session, question), asked(question));
        let limit = self.settings.limits.timeout;
        let (decision, state, fuel) = match self.bounded(Some(session), limit, call).await {
            Ok(decided) => decided,
            Err(Ended::Failed(failure)) => return Err(failure),
            Err(Ended::ByClient(excess)) => {
                let sent = Sent::from(question);
                let usage = Usage {
                    memory: 0,
                    fuel: None,
                };
                return Ok((Answer::ClientFault(ClientFault { excess, sent }), usage));
            }
        };
        if let Some(until) = state.accepted_until {
            session.expires(until);
        }
        let decision = convert::decision(
            decision,
            &self.settings.name,
            self.settings.limits.max_message,
        );
        let usage = Usage {
            memory: state.memory(),
            fuel,
        };
        let answer = if state.keys_unavailable {
            Answer::KeysUnavailable(decision)
        } else {
            Answer::Decided(decision)
        };
        Ok((answer, usage))
    }

    fn call(&self, notes: &Notes) -> Call {
        Call {
            engine: Arc::clone(&self.engine),
            world: notes.of(&self.world),
            settings: Arc::clone(&self.settings),
            hooks: Arc::clone(&self.hooks),
        }
    }

    /// Runs a call in a slot, for the client of this session if there is one.
    /// Waiting for the slot has a limit of its own: the policy's clock starts
    /// when its call does.
    async fn bounded<T: Send + 'static>(
        &self,
        session: Option<&Arc<Session>>,
        limit: Duration,
        call: impl Future<Output = Result<T, Ended>> + Send + 'static,
    ) -> Result<T, Ended> {
        let waiting = async { Some((self.queue.take().await?, self.engine.slot().await?)) };
        // Held until nobody waits for the call any more. By then the call is dropped, or a worker
        // thread is polling it: the pool of instances has room for one for each of those threads.
        let _permits = timeout(self.settings.limits.queue_timeout, waiting)
            .await
            .ok()
            .flatten()
            .ok_or(Failure::Busy)?;
        let client = || session.map(|session| Client::of(session));
        let grade = self.pace.grade(client);
        let call = Budgeted::new(limit, call.boxed());
        let (done, had) = self.engine.threads().run(grade, call).await;
        let result = done.unwrap_or(Err(Failure::Limit(Limit::Time).into()));
        self.pace.learn(client, had, result.as_ref().map(drop));
        result
    }
}

impl Policy for ComponentPolicy {
    fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    fn on_failure(&self) -> OnFailure {
        self.settings.on_failure
    }

    fn ask<'a>(
        &'a self,
        session: &'a Arc<Session>,
        question: Question<'a>,
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        async move {
            self.unless_away(session, question, &Notes::unwanted())
                .await
        }
        .boxed()
    }

    fn ask_noted<'a>(
        &'a self,
        session: &'a Arc<Session>,
        question: Question<'a>,
        notes: &'a Notes,
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        self.unless_away(session, question, notes).boxed()
    }

    fn longest(&self) -> Duration {
        let limits = &self.settings.limits;
        limits.queue_timeout + limits.timeout
    }

    fn digest(&self) -> Option<&Arc<str>> {
        Some(&self.settings.digest)
    }
}

fn asked(question: Question<'_>) -> Asked {
    match question {
        Question::Connect => Asked::Connect,
        Question::Handshake(text) => Asked::Handshake(text.to_owned()),
        Question::Frames(_) => Asked::Frames,
        Question::Close(_) => Asked::Close,
    }
}

fn subject(session: &Arc<Session>, question: Question<'_>) -> Subject {
    let mut subject = Subject {
        session: Some(Arc::clone(session)),
        ..Subject::default()
    };
    match question {
        Question::Connect => {}
        Question::Handshake(text) => subject.given = text.len(),
        Question::Frames(window) => subject.window = Some(Arc::clone(window)),
        Question::Close(ending) => subject.ending = Some(Arc::clone(ending)),
    }
    subject
}

#[cfg(test)]
mod tests;
