//! One call: a store of its own, an instance in it, the hook, and what is left.

use std::sync::Arc;

use tokio::task::yield_now;
use wasmtime::component::Resource;
use wasmtime::{Store, UpdateDeadline};

use super::super::bindings::sluice::policy::destinations;
use super::super::bindings::sluice::policy::types as wit;
use super::super::client::{ClientFault, Excess};
use super::super::convert;
use super::super::destinations::{Answered, MAX_REQUESTS, Misuse, Request};
use super::super::effects::Effects;
use super::super::engine::Engine;
use super::super::references::{ReferenceError, References};
use super::super::state::{LimitReached, MAX_HANDLES, State};
use super::super::world::World;
use super::{Hooks, Usage, trap};
use crate::bindings::FactsHandle;
use crate::question::{Hook, Question};
use crate::state::Settings;
use crate::verdict::{Failure, Limit, Verdict};
use session::registry::Session;

/// All that a call needs, so that it can go on anywhere.
pub(super) struct Call {
    pub(super) engine: Arc<Engine>,
    pub(super) world: Arc<dyn World>,
    pub(super) settings: Arc<Settings>,
    pub(super) hooks: Arc<Hooks>,
}

/// What one call came to.
pub(super) struct Called {
    pub(super) verdict: Verdict,
    /// What the call took, unless the policy failed.
    pub(super) usage: Option<Usage>,
    /// Until when the tokens that the policy verified are taken: the earliest counts.
    pub(super) accepted_until: Option<u64>,
    /// What the policy said beside its answer; nothing if it failed.
    pub(super) effects: Effects,
}

/// What a policy wants to be asked before it decides.
pub(super) struct Requests {
    pub(super) requests: Vec<Request>,
    pub(super) learned: Learned,
}

/// What a decision begins with.
#[derive(Default)]
pub(super) struct Prepared {
    /// Answers of services; `None` if the policy could not ask.
    pub(super) answers: Option<Arc<[Answered]>>,
    pub(super) learned: Learned,
}

/// What the gateway learned of tokens while a policy prepared its decision.
#[derive(Default)]
pub(super) struct Learned {
    keys_unavailable: bool,
    accepted_until: Option<u64>,
    /// What the policy said meanwhile.
    effects: Effects,
}

impl From<Verdict> for Called {
    fn from(verdict: Verdict) -> Self {
        Self {
            verdict,
            usage: None,
            accepted_until: None,
            effects: Effects::default(),
        }
    }
}

impl From<Failure> for Called {
    fn from(failure: Failure) -> Self {
        Verdict::Failed(failure).into()
    }
}

impl From<Failure> for Box<Called> {
    fn from(failure: Failure) -> Self {
        Self::new(failure.into())
    }
}

impl From<Misuse> for Box<Called> {
    fn from(misuse: Misuse) -> Self {
        Failure::Trap(misuse.to_string()).into()
    }
}

impl Call {
    /// Starts an instance for each hook, and has the configuration looked at. Tells what the policy
    /// declared on that occasion.
    pub(super) async fn try_out(self) -> Result<Result<References, String>, Failure> {
        let Hooks {
            connect,
            handshake,
            prepare,
            frames,
            close,
            lifecycle: _,
        } = &*self.hooks;
        let store = || self.store(None);
        // Each in a store of its own, as for a call.
        macro_rules! start {
            ($($pre:ident),+) => {$(
                if let Some(pre) = $pre {
                    let mut store = store();
                    let started = pre.instantiate_async(&mut store).await;
                    started.map_err(|error| failure(store.data_mut(), &error))?;
                }
            )+};
        }
        start!(connect, handshake, prepare, frames, close);
        self.validate(None).await
    }

    /// Has the configuration looked at, as a tenant has it or as all have. Tells what the policy
    /// declared on that occasion.
    pub(super) async fn validate(
        self,
        tenant: Option<String>,
    ) -> Result<Result<References, String>, Failure> {
        let Some(pre) = &self.hooks.lifecycle else {
            return Ok(Ok(References::default()));
        };
        let mut store = self.store(None);
        let validated = async {
            let policy = pre.instantiate_async(&mut store).await?;
            let state = store.data_mut();
            state.references = Some(References::default());
            state.tenant = tenant;
            policy
                .sluice_policy_lifecycle()
                .call_validate_config(&mut store)
                .await
        };
        let validated = validated.await;
        let validated = validated.map_err(|error| failure(store.data_mut(), &error))?;
        let declared = store.into_data().references.unwrap_or_default();
        Ok(validated.map(|()| declared))
    }

    /// Asks the policy which requests are to be made before it decides.
    pub(super) async fn prepare(
        self,
        session: Arc<Session>,
        question: Question,
    ) -> Result<Requests, Box<Called>> {
        let mut store = self.store(Some((session, question.clone())));
        let requests = match requests(&self.hooks, &mut store, &question).await {
            Ok(requests) => requests,
            Err(error) => return Err(Box::new(ended(store.data_mut(), &error, &question))),
        };
        store.data_mut().ends_line();
        if requests.len() > MAX_REQUESTS {
            return Err(Misuse::too_many(requests.len()).into());
        }
        let state = store.data_mut();
        Ok(Requests {
            requests: requests
                .into_iter()
                .map(|request| convert::request(request, &self.settings.secrets))
                .collect(),
            learned: Learned {
                keys_unavailable: state.keys_unavailable,
                accepted_until: state.accepted_until,
                effects: std::mem::take(&mut state.effects),
            },
        })
    }

    /// Asks the hook of this question.
    pub(super) async fn ask(
        self,
        session: Arc<Session>,
        question: Question,
        prepared: Prepared,
    ) -> Called {
        // Made when the call begins, as its deadline counts from then.
        let mut store = self.store(Some((session, question.clone())));
        let state = store.data_mut();
        state.answers = prepared.answers;
        state.keys_unavailable = prepared.learned.keys_unavailable;
        state.accepted_until = prepared.learned.accepted_until;
        state.effects = prepared.learned.effects;
        let decision = match decide(&self.hooks, &mut store, &question).await {
            Ok(decision) => decision,
            Err(error) => return ended(store.data_mut(), &error, &question),
        };
        store.data_mut().ends_line();
        let fuel = self.engine.is_metered().then(|| fuel_used(&store));
        let state = store.data_mut();
        let verdict = match decision {
            wit::Decision::Accept => Verdict::Accept,
            wit::Decision::Reject(rejection) => {
                let max_message = self.settings.limits.max_message;
                let (rejection, amendments) =
                    convert::rejection(&rejection, max_message, &self.settings.secrets);
                state.amends(&amendments);
                if state.keys_unavailable {
                    Verdict::KeysUnavailable(rejection)
                } else {
                    Verdict::Reject(rejection)
                }
            }
        };
        Called {
            verdict,
            usage: Some(Usage {
                memory: state.memory(),
                fuel,
            }),
            accepted_until: state.accepted_until,
            effects: std::mem::take(&mut state.effects),
        }
    }

    fn store(&self, asked: Option<(Arc<Session>, Question)>) -> Store<State> {
        let state = State::new(Arc::clone(&self.settings), Arc::clone(&self.world), asked);
        let mut store = Store::new(self.engine.wasm(), state);
        store.limiter(|state| state);
        store.set_hostcall_fuel(self.settings.limits.hostcall_fuel);
        store.set_max_component_handles(MAX_HANDLES);
        if self.engine.is_metered() {
            // The tank cannot be absent where the engine meters.
            let _ = store.set_fuel(u64::MAX);
        }
        // Two, because the first tick may come at once: a call that yields goes to
        // the end of its thread's queue, and few calls last a whole tick.
        store.set_epoch_deadline(2);
        store.epoch_deadline_callback(|_| {
            // What is ready on this thread goes first, and then what has come in
            // from the network, which is not looked at while anything is ready.
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(yield_now())))
        });
        store
    }
}

async fn decide(
    hooks: &Hooks,
    mut store: &mut Store<State>,
    question: &Question,
) -> wasmtime::Result<wit::Decision> {
    let facts = Resource::<FactsHandle>::new_borrow(0);
    Ok(match question {
        Question::Connect => {
            let pre = hook(hooks.connect.as_ref(), Hook::Connect)?;
            let policy = pre.instantiate_async(&mut store).await?;
            policy
                .sluice_policy_on_connect()
                .call_decide(&mut store, facts)
                .await?
        }
        Question::Handshake(text) => {
            let pre = hook(hooks.handshake.as_ref(), Hook::Handshake)?;
            let policy = pre.instantiate_async(&mut store).await?;
            policy
                .sluice_policy_on_handshake()
                .call_decide(&mut store, facts, text)
                .await?
        }
        Question::Frames(_) => {
            let pre = hook(hooks.frames.as_ref(), Hook::Frames)?;
            let policy = pre.instantiate_async(&mut store).await?;
            policy
                .sluice_policy_on_frames()
                .call_decide(&mut store, facts, Resource::new_borrow(0))
                .await?
        }
        Question::Close(_) => {
            let pre = hook(hooks.close.as_ref(), Hook::Close)?;
            let policy = pre.instantiate_async(&mut store).await?;
            policy
                .sluice_policy_on_close()
                .call_closed(&mut store, facts, Resource::new_borrow(0))
                .await?;
            wit::Decision::Accept
        }
    })
}

async fn requests(
    hooks: &Hooks,
    mut store: &mut Store<State>,
    question: &Question,
) -> wasmtime::Result<Vec<destinations::Request>> {
    let pre = hooks.prepare.as_ref();
    let pre = pre.ok_or_else(|| wasmtime::Error::msg("the policy has no hook prepare"))?;
    let policy = pre.instantiate_async(&mut store).await?;
    let handshake = match question {
        Question::Handshake(text) => Some(&**text),
        Question::Connect | Question::Frames(_) | Question::Close(_) => None,
    };
    policy
        .sluice_policy_prepare()
        .call_requests(&mut store, Resource::new_borrow(0), handshake)
        .await
}

/// What a call came to that ended without an answer.
fn ended(state: &mut State, error: &wasmtime::Error, question: &Question) -> Called {
    match blame(state, error) {
        Err(failure) => failure.into(),
        Ok(excess) => Called {
            verdict: Verdict::ClientFault(ClientFault {
                excess,
                sent: question.sent(),
            }),
            // What the client made of the call says nothing about the policy.
            usage: Some(Usage {
                memory: 0,
                fuel: None,
            }),
            accepted_until: None,
            effects: Effects::default(),
        },
    }
}

/// How a call failed that is about no connection.
fn failure(state: &mut State, error: &wasmtime::Error) -> Failure {
    blame(state, error).map_or_else(
        |failure| failure,
        |excess| Failure::Trap(excess.to_string()),
    )
}

/// Tells apart whose fault an error is.
///
/// # Errors
/// The policy's failure, where it is not the client's input that was too much.
fn blame(state: &mut State, error: &wasmtime::Error) -> Result<Excess, Failure> {
    if let Some(excess) = error.downcast_ref::<Excess>() {
        return Ok(*excess);
    }
    if let Some(LimitReached(limit)) = error.downcast_ref() {
        return Err(Failure::Limit(*limit));
    }
    // The sentence alone: where in its code a policy declared too much helps nobody.
    if let Some(error) = error.downcast_ref::<ReferenceError>() {
        return Err(Failure::Trap(error.to_string()));
    }
    let described = format!("{error:#}");
    // The runtime keeps the types of these errors to itself.
    if described.contains("fuel allocated for hostcalls has been exhausted") {
        let fuel = state.settings.limits.hostcall_fuel;
        return if state.may_be_the_clients(fuel) {
            Ok(Excess::Copied)
        } else {
            Err(Failure::Limit(Limit::HostcallFuel(fuel)))
        };
    }
    if described.contains("resource limit exceeded: instance count") {
        let most = state.settings.limits.max_instances;
        return Err(Failure::Limit(Limit::Instances(most)));
    }
    state.ends_line();
    if let Some(said) = state.last_error.take() {
        return Err(Failure::Trap(format!("{said} ({})", trap::cause(error))));
    }
    let described = trap::describe(error);
    Err(Failure::Trap(match state.last_printed.take() {
        // It may have been printed long before, and have nothing to do with the trap.
        Some(printed) => format!("{described}; it printed last: {printed}"),
        None => described,
    }))
}

fn fuel_used(store: &Store<State>) -> u64 {
    u64::MAX - store.get_fuel().unwrap_or(u64::MAX)
}

/// Routes are checked against the hooks when they are loaded; asking a hook
/// that is not there is a bug of the host's, and fails as the policy would.
fn hook<T>(pre: Option<T>, hook: Hook) -> wasmtime::Result<T> {
    let name = hook.name();
    pre.ok_or_else(|| wasmtime::Error::msg(format!("the policy has no hook {name}")))
}
