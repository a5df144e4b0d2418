//! Policy that is a WebAssembly component. Every call gets a fresh instance with limits, which is
//! dropped afterwards.

use std::sync::Arc;
use std::time::Duration;

use call::{Call, Called, Prepared, Requests};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use super::bindings::{close, configured, connect, frames, handshake, prepare};
use super::breaker::{Breaker, BreakerState};
use super::budget::Budgeted;
use super::call_queue::CallQueue;
use super::destinations::{Asker, Asking, Misuse};
use super::effects::Effects;
use super::engine::Engine;
use super::own_secrets::OwnSecrets;
use super::pace::Pace;
use super::record::notes::Notes;
use super::references::References;
use super::state::{Settings, State};
use super::world::World;
use crate::policy::Policy;
use crate::question::{Hook, Question};
use crate::settings::{Grant, PolicyLimits};
use crate::verdict::{Failure, Limit, OnFailure, Unanswered, Verdict};
use session::registry::{Client, Session};

mod call;
mod trap;

/// Least time in which a policy is tried out.
const LEAST_START: Duration = Duration::from_secs(2);

/// The hooks that a component has, ready to be instantiated.
pub struct Hooks {
    /// `on-connect`
    pub connect: Option<connect::ConnectPolicyPre<State>>,
    /// `on-handshake`
    pub handshake: Option<handshake::HandshakePolicyPre<State>>,
    /// `prepare`
    pub prepare: Option<prepare::PreparePolicyPre<State>>,
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
        !Hook::ALL.iter().any(|hook| self.has(*hook))
    }

    /// Whether it has this one.
    #[must_use]
    pub const fn has(&self, hook: Hook) -> bool {
        match hook {
            Hook::Connect => self.connect.is_some(),
            Hook::Handshake => self.handshake.is_some(),
            Hook::Frames => self.frames.is_some(),
            Hook::Close => self.close.is_some(),
        }
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

/// Call of a policy that nothing depends on.
#[derive(Debug)]
pub struct Examined {
    /// What came of it.
    pub verdict: Verdict,
    /// What it took, unless the policy failed.
    pub usage: Option<Usage>,
    /// What the policy said beside its answer.
    pub effects: Effects,
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

    /// Whether it is called, or in quarantine.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Puts it in quarantine, until it is released.
    pub fn quarantine(&self) {
        self.breaker.hold();
    }

    /// Ends its quarantine, whoever began it.
    pub fn release(&self) {
        self.breaker.release();
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
        self.tried_out(self.call(&Notes::unwanted()).try_out())
            .await
    }

    /// Asks whether the configuration that a tenant has is usable.
    ///
    /// # Errors
    /// As [`ComponentPolicy::try_out`].
    pub(crate) async fn try_out_for(
        &self,
        tenant: &str,
    ) -> Result<Result<References, String>, Failure> {
        let call = self.call(&Notes::unwanted());
        self.tried_out(call.validate(Some(tenant.to_owned()))).await
    }

    async fn tried_out(
        &self,
        call: impl Future<Output = Result<Result<References, String>, Failure>> + Send + 'static,
    ) -> Result<Result<References, String>, Failure> {
        // Nobody waits in a call's time for this, and the first call of all
        // pays for what later ones find ready.
        let timeout = self.settings.limits.timeout;
        let limit = timeout.max(LEAST_START);
        let (tried, had) = self.bounded(None, limit, call).await?;
        let mut tried = tried.unwrap_or(Err(Failure::Limit(if limit > timeout {
            Limit::Start(limit)
        } else {
            Limit::Time(limit)
        })));
        let verdict = match &tried {
            Ok(_) => Verdict::Accept,
            Err(failure) => Verdict::Failed(failure.clone()),
        };
        self.pace.learn(|| None, had, &verdict);
        match &mut tried {
            Ok(Ok(_)) => {}
            Ok(Err(complaint)) => self.settings.secrets.hide_in(complaint),
            Err(failure) => self.settings.secrets.hide_in_failure(failure),
        }
        tried
    }

    /// Asks it, as [`Policy::ask`] does, and tells what else there is to know. It is asked even if it
    /// keeps failing, and what it says beside its answer has no effect.
    pub async fn examine(&self, session: &Arc<Session>, question: &Question) -> Examined {
        let called = self.decide(session, question, &Notes::unwanted()).await;
        Examined {
            verdict: called.verdict,
            usage: called.usage,
            effects: called.effects,
        }
    }

    async fn unless_away(
        &self,
        session: &Arc<Session>,
        question: &Question,
        notes: &Notes,
    ) -> Verdict {
        let attempt = match self.breaker.enter(|| Client::of(session)) {
            Ok(attempt) => attempt,
            Err(failure) => return Verdict::Failed(failure),
        };
        let Called {
            verdict, effects, ..
        } = self.decide(session, question, notes).await;
        if !effects.is_empty() {
            notes.said(effects);
        }
        attempt.report(&verdict, || Client::of(session));
        verdict
    }

    async fn decide(&self, session: &Arc<Session>, question: &Question, notes: &Notes) -> Called {
        let mut called = self.call_hooks(session, question, notes).await;
        self.settings.secrets.hide_in_verdict(&mut called.verdict);
        called
    }

    async fn call_hooks(
        &self,
        session: &Arc<Session>,
        question: &Question,
        notes: &Notes,
    ) -> Called {
        let prepared = match self.prepare(session, question, notes).await {
            Ok(prepared) => prepared,
            Err(called) => return *called,
        };
        let call = self.call(notes);
        let call = call.ask(Arc::clone(session), question.clone(), prepared);
        let limit = self.settings.limits.timeout;
        let (called, had) = match self.bounded(Some(session), limit, call).await {
            Ok(done) => done,
            Err(failure) => return failure.into(),
        };
        let called = called.unwrap_or_else(|| Failure::Limit(Limit::Time(limit)).into());
        self.pace
            .learn(|| Some(Client::of(session)), had, &called.verdict);
        if let Some(until) = called.accepted_until {
            session.expires(until);
        }
        called
    }

    /// Has services asked what the policy wants to know before it decides. Nothing of the engine is
    /// held while they are waited for.
    ///
    /// # Errors
    /// What became of the decision, if the policy cannot make it.
    async fn prepare(
        &self,
        session: &Arc<Session>,
        question: &Question,
        notes: &Notes,
    ) -> Result<Prepared, Box<Called>> {
        let is_prepared = matches!(question, Question::Connect | Question::Handshake(_));
        if self.hooks.prepare.is_none() || !is_prepared {
            return Ok(Prepared::default());
        }
        let limit = self.settings.limits.timeout;
        let call = self
            .call(notes)
            .prepare(Arc::clone(session), question.clone());
        let (requests, had) = self.bounded(Some(session), limit, call).await?;
        let requests =
            requests.unwrap_or_else(|| Err(Box::new(Failure::Limit(Limit::Time(limit)).into())));
        let verdict = requests.as_ref().err().map(|called| &called.verdict);
        let verdict = verdict.unwrap_or(&Verdict::Accept);
        self.pace.learn(|| Some(Client::of(session)), had, verdict);
        let Requests { requests, learned } = requests?;
        let asked = requests.iter().map(|request| &request.destination);
        let mut denied = asked.filter(|name| !self.settings.destinations.contains(name));
        if let Some(name) = denied.next() {
            let misuse = Misuse::not_allowed(&self.settings.name, name);
            return Err(misuse.into());
        }
        let asking = Asking {
            asker: if session.is_shadow() {
                Asker::Watching(Client::of(session))
            } else {
                Asker::Deciding(Client::of(session))
            },
            until: session.decide_by().map(|end| self.last_answer(end)),
            requests: &requests,
        };
        let answers = notes.of(&self.world).ask(asking).await?;
        for (request, answered) in requests.iter().zip(&answers) {
            if let Some(error) = answered.refusal() {
                let unanswered = Unanswered {
                    destination: request.destination.clone(),
                    error,
                };
                return Err(Box::new(Verdict::Unanswered(unanswered).into()));
            }
        }
        Ok(Prepared {
            answers: Some(answers.into()),
            learned,
        })
    }

    /// Time when the last answer must be here, so that the decision is made before the admission
    /// ends.
    fn last_answer(&self, end: Instant) -> Instant {
        let left = end.saturating_duration_since(Instant::now());
        end - self.settings.limits.timeout.min(left / 2)
    }

    fn call(&self, notes: &Notes) -> Call {
        Call {
            engine: Arc::clone(&self.engine),
            world: notes.of(&self.world),
            settings: Arc::clone(&self.settings),
            hooks: Arc::clone(&self.hooks),
        }
    }

    /// Runs a call in a slot, for the client of this session if there is one. Returns what the call
    /// came to, or `None` if its time ran out; and the CPU time that it used.
    ///
    /// Waiting for the slot has a limit of its own: the policy's clock starts when its call does.
    ///
    /// # Errors
    /// [`Failure::Busy`]
    async fn bounded<T: Send + 'static>(
        &self,
        session: Option<&Arc<Session>>,
        limit: Duration,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<(Option<T>, Duration), Failure> {
        let waiting = async { Some((self.queue.take().await?, self.engine.slot().await?)) };
        // Held until nobody waits for the call any more. By then the call is dropped, or a worker
        // thread is polling it: the pool of instances has room for one for each of those threads.
        let _permits = timeout(self.settings.limits.queue_timeout, waiting)
            .await
            .ok()
            .flatten()
            .ok_or(Failure::Busy)?;
        let grade = self
            .pace
            .grade(|| session.map(|session| Client::of(session)));
        let call = Budgeted::new(limit, call.boxed());
        Ok(self.engine.threads().run(grade, call).await)
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
        question: &'a Question,
    ) -> BoxFuture<'a, Verdict> {
        async move {
            self.unless_away(session, question, &Notes::unwanted())
                .await
        }
        .boxed()
    }

    fn ask_noted<'a>(
        &'a self,
        session: &'a Arc<Session>,
        question: &'a Question,
        notes: &'a Notes,
    ) -> BoxFuture<'a, Verdict> {
        self.unless_away(session, question, notes).boxed()
    }

    fn longest(&self) -> Duration {
        let limits = &self.settings.limits;
        limits.queue_timeout + limits.timeout
    }

    fn signer(&self) -> Option<&Arc<str>> {
        self.settings.signer.as_ref()
    }

    fn digest(&self) -> Option<&Arc<str>> {
        Some(&self.settings.digest)
    }

    fn has_effects(&self) -> bool {
        let grants = &self.settings.grants;
        grants.contains(&Grant::Notice) || grants.contains(&Grant::Metrics)
    }

    fn secrets(&self) -> OwnSecrets {
        self.settings.secrets.clone()
    }
}

#[cfg(test)]
mod tests;
