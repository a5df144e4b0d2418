//! One call: a store of its own, an instance in it, the hook, and what is left.

use std::sync::Arc;

use tokio::task::yield_now;
use wasmtime::component::Resource;
use wasmtime::{Store, UpdateDeadline};

use super::super::bindings::sluice::policy::types as wit;
use super::super::client::Excess;
use super::super::engine::Engine;
use super::super::references::{ReferenceError, References};
use super::super::state::{LimitReached, MAX_HANDLES, State, Subject};
use super::super::world::World;
use super::Hooks;
use crate::handles::FactsHandle;
use crate::question::Ended;
use crate::question::{Failure, Limit};
use crate::state::Settings;
use base::text;

/// Bytes of a trap's description that are kept.
const MAX_TRAP_TEXT: usize = 2048;

/// All that a call needs, so that it can go on anywhere.
pub(super) struct Call {
    pub(super) engine: Arc<Engine>,
    pub(super) world: Arc<dyn World>,
    pub(super) settings: Arc<Settings>,
    pub(super) hooks: Arc<Hooks>,
}

/// The hook that is asked. What it is asked about is the [`Subject`].
pub(super) enum Asked {
    Connect,
    Handshake(String),
    Frames,
    Close,
}

impl Call {
    /// Starts an instance for each hook, and has the configuration looked at. Tells what the policy
    /// declared on that occasion.
    pub(super) async fn try_out(self) -> Result<Result<References, String>, Ended> {
        let Hooks {
            connect,
            handshake,
            frames,
            close,
            lifecycle,
        } = &*self.hooks;
        let store = || self.store(Subject::default());
        // Each in a store of its own, as for a call.
        macro_rules! start {
            ($($pre:ident),+) => {$(
                if let Some(pre) = $pre {
                    let mut store = store();
                    let started = pre.instantiate_async(&mut store).await;
                    started.map_err(|error| ended(store.data_mut(), &error))?;
                }
            )+};
        }
        start!(connect, handshake, frames, close);
        let Some(pre) = lifecycle else {
            return Ok(Ok(References::default()));
        };
        let mut store = store();
        let validated = async {
            let policy = pre.instantiate_async(&mut store).await?;
            store.data_mut().references = Some(References::default());
            policy
                .sluice_policy_lifecycle()
                .call_validate_config(&mut store)
                .await
        };
        let validated = validated.await;
        let validated = validated.map_err(|error| ended(store.data_mut(), &error))?;
        let declared = store.into_data().references.unwrap_or_default();
        Ok(validated.map(|()| declared))
    }

    /// The decision, what the store held in the end, and the fuel that it used.
    pub(super) async fn ask(
        self,
        subject: Subject,
        asked: Asked,
    ) -> Result<(wit::Decision, State, Option<u64>), Ended> {
        // Made when the call begins, as its deadline counts from then.
        let mut store = self.store(subject);
        let decided = decide(&self.hooks, &mut store, asked).await;
        let decision = decided.map_err(|error| ended(store.data_mut(), &error))?;
        store.data_mut().ends_line();
        let fuel = self.engine.is_metered().then(|| fuel_used(&store));
        Ok((decision, store.into_data(), fuel))
    }

    fn store(&self, subject: Subject) -> Store<State> {
        let state = State::new(Arc::clone(&self.settings), Arc::clone(&self.world), subject);
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
    asked: Asked,
) -> wasmtime::Result<wit::Decision> {
    let facts = Resource::<FactsHandle>::new_borrow(0);
    Ok(match asked {
        Asked::Connect => {
            let pre = hook(hooks.connect.as_ref(), "on-connect")?;
            let policy = pre.instantiate_async(&mut store).await?;
            policy
                .sluice_policy_on_connect()
                .call_decide(&mut store, facts)
                .await?
        }
        Asked::Handshake(text) => {
            let pre = hook(hooks.handshake.as_ref(), "on-handshake")?;
            let policy = pre.instantiate_async(&mut store).await?;
            policy
                .sluice_policy_on_handshake()
                .call_decide(&mut store, facts, &text)
                .await?
        }
        Asked::Frames => {
            let pre = hook(hooks.frames.as_ref(), "on-frames")?;
            let policy = pre.instantiate_async(&mut store).await?;
            policy
                .sluice_policy_on_frames()
                .call_decide(&mut store, facts, Resource::new_borrow(0))
                .await?
        }
        Asked::Close => {
            let pre = hook(hooks.close.as_ref(), "on-close")?;
            let policy = pre.instantiate_async(&mut store).await?;
            policy
                .sluice_policy_on_close()
                .call_closed(&mut store, facts, Resource::new_borrow(0))
                .await?;
            wit::Decision::Accept
        }
    })
}

/// Tells apart whose fault an error is.
fn ended(state: &mut State, error: &wasmtime::Error) -> Ended {
    if let Some(excess) = error.downcast_ref::<Excess>() {
        return Ended::ByClient(*excess);
    }
    if let Some(LimitReached(limit)) = error.downcast_ref() {
        return Failure::Limit(*limit).into();
    }
    // The sentence alone: where in its code a policy declared too much helps nobody.
    if let Some(error) = error.downcast_ref::<ReferenceError>() {
        return Failure::Trap(error.to_string()).into();
    }
    let described = format!("{error:#}");
    // The runtime keeps the types of these errors to itself.
    if described.contains("fuel allocated for hostcalls has been exhausted") {
        return if state.may_be_the_clients(state.settings.limits.hostcall_fuel) {
            Ended::ByClient(Excess::Copied)
        } else {
            Failure::Limit(Limit::HostcallFuel).into()
        };
    }
    if described.contains("resource limit exceeded: instance count") {
        return Failure::Limit(Limit::Instances).into();
    }
    let mut described = text::clean(&described, MAX_TRAP_TEXT);
    state.ends_line();
    let printed = || state.last_printed.take();
    if let Some(said) = state.last_error.take().or_else(printed) {
        described = format!("{said} ({described})");
    }
    Failure::Trap(described).into()
}

fn fuel_used(store: &Store<State>) -> u64 {
    u64::MAX - store.get_fuel().unwrap_or(u64::MAX)
}

/// Routes are checked against the hooks when they are loaded; asking a hook
/// that is not there is a bug of the host's, and fails as the policy would.
fn hook<T>(pre: Option<T>, name: &str) -> wasmtime::Result<T> {
    pre.ok_or_else(|| wasmtime::Error::msg(format!("the policy has no hook {name}")))
}
