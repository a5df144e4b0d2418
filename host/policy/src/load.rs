//! From the configuration to policies that can be asked. Every mistake shows
//! here, and is reported with all others, not at the first caller.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use wasmtime::component::{Component, InstancePre};

use super::bindings::{close, configured, connect, frames, handshake, prepare};
use super::component::{ComponentPolicy, Hooks};
use super::engine::Engine;
use super::fetch::Fetcher;
use super::own_secrets::OwnSecrets;
use super::settings::{self, Grant, Wasi};
use super::state::Settings;
use super::state::State;
use super::world::World;
use super::{interfaces, wasi};
use crate::question::Hook;
use base::diagnostics::Diagnostics;
use grants::imports_are_granted;

mod compiled;
mod grants;
mod tried_out;
mod unused;

pub use compiled::{
    Compiled, LoadError, builtin, compile, is_core_module, read_bounded, read_bundle,
};
pub use grants::{Needed, PACKAGE, grant_needed, ungranted};

/// What every policy is built with.
pub struct Parts {
    /// The engine that runs them.
    pub engine: Arc<Engine>,
    /// Where those come from that are in registries.
    pub fetcher: Arc<Fetcher>,
    /// What the policies' calls to the host work on.
    pub world: Arc<dyn World>,
}

/// Loads a policy and has it validate its configuration. Mistakes go to
/// `diagnostics`, and there is no policy then.
pub async fn policy(
    name: &str,
    policy: &settings::Policy,
    parts: &Parts,
    diagnostics: &mut Diagnostics,
) -> Option<ComponentPolicy> {
    let pin = policy.sha256.as_ref();
    let compiled = match compile(&parts.engine, &parts.fetcher, policy, pin).await {
        Ok(compiled) => compiled,
        Err(LoadError::Imports(imports)) => {
            diagnostics.append(ungranted(name, policy, &imports));
            return None;
        }
        Err(LoadError::Compile(error)) => {
            let message = format!("policy \"{name}\" does not load: {error}");
            diagnostics.error(&policy.component_place, message, error.help());
            return None;
        }
        Err(LoadError::Signature(error)) => {
            let message = format!("policy \"{name}\" does not load: {error}");
            diagnostics
                .error(&policy.component_place, message, error.help())
                .label("not signed");
            return None;
        }
        Err(LoadError::Fetch(error)) => {
            let message = format!("policy \"{name}\" does not load: {error}");
            diagnostics
                .error(&policy.component_place, message, error.help())
                .label("not to be had");
            return None;
        }
        Err(LoadError::Pin { found }) => {
            report_pin(name, policy, &found, diagnostics);
            return None;
        }
        Err(error) => {
            diagnostics.error(
                &policy.component_place,
                format!("policy \"{name}\" does not load: {error:#}"),
                "give the path of a WebAssembly component that targets sluice:policy, or builtin:auth, \
                 builtin:duplicate or builtin:sample-rate",
            );
            return None;
        }
    };
    let built = link(name, policy, &compiled, parts, diagnostics)?;
    let references = tried_out::accepted(&built, name, policy, diagnostics).await?;
    unused::report(name, policy, &compiled.imports, diagnostics);
    Some(built.declaring(references))
}

/// Makes a policy of a compiled component, which must import nothing that it
/// is not granted and have a hook. Mistakes go to `diagnostics`.
pub fn link(
    name: &str,
    policy: &settings::Policy,
    compiled: &Compiled,
    parts: &Parts,
    diagnostics: &mut Diagnostics,
) -> Option<ComponentPolicy> {
    let ty = compiled.component.component_type();
    let imports = ty.imports(parts.engine.wasm()).map(|(import, _)| import);
    if !imports_are_granted(name, policy, imports, diagnostics) {
        return None;
    }
    let hooks = match hooks(&parts.engine, &compiled.component, policy) {
        Ok(hooks) => hooks,
        Err(error) => {
            diagnostics.error(
                &policy.component_place,
                format!("policy \"{name}\" does not fit this host: {error:#}"),
                "build it against the wit/policy.wit of this release",
            );
            return None;
        }
    };
    if hooks.is_empty() {
        diagnostics.error(
            &policy.component_place,
            format!(
                "policy \"{name}\" has no hook: it exports none of on-connect, on-handshake, on-frames and on-close"
            ),
            "export at least one of them from sluice:policy",
        );
        return None;
    }
    // A component can export it without the import, whose types it may write out.
    if hooks.prepare.is_some() && !policy.grants.contains(&Grant::Destinations) {
        let granted = policy.grants.iter().copied().chain([Grant::Destinations]);
        let all: Vec<_> = granted.map(Grant::name).collect();
        diagnostics.error(
            &policy.grants_place,
            format!("policy \"{name}\" exports prepare, and may have no service asked"),
            format!("if it may, write this line in [policies.{name}]: grants = {all:?}"),
        );
        return None;
    }
    if hooks.prepare.is_some() && !hooks.has(Hook::Connect) && !hooks.has(Hook::Handshake) {
        diagnostics.error(
            &policy.component_place,
            format!(
                "policy \"{name}\" exports prepare, and neither on-connect nor on-handshake, which would \
                 get the answers"
            ),
            "export one of these hooks, or leave prepare out",
        );
        return None;
    }
    if !secrets_are_there(name, policy, diagnostics) {
        return None;
    }
    Some(ComponentPolicy::new(
        Arc::clone(&parts.engine),
        Arc::clone(&parts.world),
        settings(name, policy, compiled),
        hooks,
    ))
}

fn report_pin(name: &str, policy: &settings::Policy, found: &str, diagnostics: &mut Diagnostics) {
    let Some(pin) = &policy.sha256 else { return };
    diagnostics
        .error(
            &pin.place,
            format!(
                "policy \"{name}\" is pinned to another component: the digest of this one is {found}"
            ),
            format!(
                "put the pinned component back; or, if this one is meant, \
                 write this line in [policies.{name}]: sha256 = \"{found}\""
            ),
        )
        .label("not this one");
}

/// Finds out which hooks a component has by looking at its exports. A hook
/// that is there with the wrong types is an error, not an absent hook.
fn hooks(
    engine: &Engine,
    component: &Component,
    policy: &settings::Policy,
) -> wasmtime::Result<Hooks> {
    let mut linker = interfaces::linker(engine.wasm(), &policy.grants)?;
    if policy.wasi == Wasi::Stub {
        wasi::stub(&mut linker, component)?;
    }
    let pre = linker.instantiate_pre(component)?;
    Ok(Hooks {
        connect: probe(&pre, Hook::Connect.name(), connect::ConnectPolicyPre::new)?,
        handshake: probe(
            &pre,
            Hook::Handshake.name(),
            handshake::HandshakePolicyPre::new,
        )?,
        frames: probe(&pre, Hook::Frames.name(), frames::FramesPolicyPre::new)?,
        prepare: probe(&pre, "prepare", prepare::PreparePolicyPre::new)?,
        close: probe(&pre, Hook::Close.name(), close::ClosePolicyPre::new)?,
        lifecycle: probe(&pre, "lifecycle", configured::ConfiguredPolicyPre::new)?,
    })
}

fn probe<T>(
    pre: &InstancePre<State>,
    interface: &str,
    hook: impl FnOnce(InstancePre<State>) -> wasmtime::Result<T>,
) -> wasmtime::Result<Option<T>> {
    let prefix = format!("{PACKAGE}{interface}@");
    let exported = pre
        .component()
        .component_type()
        .exports(pre.engine())
        .any(|(name, _)| name.starts_with(&prefix));
    exported.then(|| hook(pre.clone())).transpose()
}

/// Reports values of its section that cannot be had.
fn secrets_are_there(name: &str, policy: &settings::Policy, diagnostics: &mut Diagnostics) -> bool {
    let mut all = true;
    for (key, secret) in &policy.secrets {
        if let Err(why) = &secret.value {
            all = false;
            let message = format!(
                "the value of `{key}` for policy \"{name}\" is not to be had from {}: {why}",
                secret.source
            );
            let help = "name a file that the gateway's user can read, or a variable that is set";
            diagnostics
                .error(&secret.place, message, help)
                .label("no value");
        }
    }
    all
}

fn settings(name: &str, policy: &settings::Policy, compiled: &Compiled) -> Settings {
    let mut config = as_json(&policy.config);
    let mut secrets = Vec::new();
    for (key, secret) in &policy.secrets {
        if let Ok(value) = &secret.value {
            let text = String::from_utf8_lossy(value.expose());
            config.insert(key.clone(), Value::from(&*text).to_string());
            secrets.push(value.clone());
        }
    }
    let overlays = policy.tenants.overlays.iter();
    Settings {
        name: name.into(),
        speaks_as: policy.speaks_as(name).into(),
        grants: policy.grants.clone(),
        destinations: policy.destinations.clone(),
        on_failure: policy.on_failure,
        limits: policy.limits.clone(),
        config,
        tenants: overlays
            .map(|(tenant, overlay)| (tenant.clone(), as_json(&overlay.config)))
            .collect(),
        identified_by: Arc::clone(&policy.tenants.identified_by),
        secrets: OwnSecrets::of(secrets),
        digest: format!("sha256:{}", compiled.digest).into(),
        signer: compiled.signer.as_deref().map(Arc::from),
        quarantine: policy.quarantine,
    }
}

fn as_json(config: &BTreeMap<String, Value>) -> HashMap<String, String> {
    let values = config.iter();
    values
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect()
}
