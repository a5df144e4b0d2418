//! From the configuration to policies that can be asked. Every mistake shows
//! here, and is reported with all others, not at the first caller.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use wasmparser::{Parser, Payload};
use wasmtime::component::{Component, InstancePre};

use super::bindings::{close, configured, connect, frames, handshake};
use super::compile::CompileError;
use super::component::{ComponentPolicy, Hooks};
use super::engine::Engine;
use super::fetch::{FetchError, Fetcher, MAX_COMPONENT_BYTES};
use super::interfaces::{self, INTERFACES};
use super::settings::{self, Grant, Wasi};
use super::state::Settings;
use super::state::State;
use super::world::World;
use super::{builtin, cache, wasi};
use base::blocking::LOADING;
use base::diagnostics::{Diagnostics, Place};
use base::text;

mod unused;

/// The package whose interfaces a policy may import.
pub const PACKAGE: &str = "sluice:policy/";

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
    match built.try_out().await {
        Ok(Ok(references)) => {
            unused::report(name, policy, &compiled.imports, diagnostics);
            Some(built.declaring(references))
        }
        Ok(Err(complaint)) => {
            diagnostics.error(
                complained_about(policy, &complaint),
                format!(
                    "policy \"{name}\" does not accept its configuration: {}",
                    text::clean(&complaint, 1024)
                ),
                format!("correct [policies.{name}.config]"),
            );
            None
        }
        Err(failure) => {
            diagnostics.error(
                &policy.component_place,
                format!("policy \"{name}\" {failure} when it was tried out"),
                "its author needs to know; if it ran into a limit, raise that in its section; \
                 if types do not match, build it against the wit/policy.wit of this release",
            );
            None
        }
    }
}

/// Where that stands which a policy dislikes: what it says of a key begins with
/// the key in backticks.
fn complained_about<'a>(policy: &'a settings::Policy, complaint: &str) -> &'a Place {
    let key = complaint
        .strip_prefix('`')
        .and_then(|rest| rest.split_once('`'));
    key.and_then(|(key, _)| policy.config_places.get(key))
        .unwrap_or(&policy.config_place)
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
    Some(ComponentPolicy::new(
        Arc::clone(&parts.engine),
        Arc::clone(&parts.world),
        settings(name, policy, &compiled.digest),
        hooks,
    ))
}

/// A component with the digest of its own bytes, in hexadecimal.
pub struct Compiled {
    /// Ready to be linked.
    pub component: Component,
    /// Of the file, not of the compiled code.
    pub digest: String,
    /// The names of what it imports.
    imports: Vec<String>,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is not the one that the configuration names.
    #[error("its digest is {found}")]
    Pin {
        /// The digest that it has.
        found: String,
    },
    /// It cannot be had from its registry.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It imports what it is not granted; all its imports.
    #[error("it imports what it is not granted")]
    Imports(Vec<String>),
    /// It is no component, or takes too much to compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// It cannot be read.
    #[error(transparent)]
    Broken(#[from] anyhow::Error),
}

/// Reads or fetches a policy's component, looks at what it imports, and compiles it, all off the
/// async threads: a large one takes seconds.
///
/// # Errors
/// Where it cannot be had, is too large, or is no component; where it is not the one that it must
/// be; or where it imports what the policy is not granted.
pub async fn compile(
    engine: &Arc<Engine>,
    fetcher: &Fetcher,
    policy: &settings::Policy,
    pin: Option<&settings::Pin>,
) -> Result<Compiled, LoadError> {
    let engine = Arc::clone(engine);
    let pin = pin.map(|pin| pin.digest.clone());
    let bytes = read(&policy.component, fetcher).await?;
    let policy = policy.clone();
    let compiling = move || {
        let digest: cache::Digest = Sha256::digest(&bytes).into();
        let found = text::hex(&digest);
        // Before anything else is made of it.
        if pin.is_some_and(|pin| pin != found) {
            return Err(LoadError::Pin { found });
        }
        if is_core_module(&bytes) {
            let problem = "it is a core WebAssembly module, not a component".to_owned();
            return Err(CompileError::Invalid(problem).into());
        }
        let imports = imports(&bytes);
        if !imports.iter().all(|import| may_import(&policy, import)) {
            return Err(LoadError::Imports(imports));
        }
        let trusted = matches!(policy.component, settings::Component::Builtin(_));
        let component = engine.compile(&bytes, &digest, trusted, policy.limits.compile)?;
        Ok(Compiled {
            component,
            digest: found,
            imports,
        })
    };
    LOADING
        .run(compiling)
        .await
        .context("the compiler panicked")?
}

async fn read(
    source: &settings::Component,
    fetcher: &Fetcher,
) -> Result<Cow<'static, [u8]>, LoadError> {
    Ok(match source {
        settings::Component::Builtin(name) => builtin::component(name)
            .with_context(|| format!("there is no builtin:{name}"))?
            .into(),
        settings::Component::File(path) => {
            let file = path.clone();
            let reading = LOADING.run(move || read_bounded(&file));
            reading
                .await
                .context("the thread that was to read it panicked")?
                .with_context(|| path.display().to_string())?
                .into()
        }
        settings::Component::Oci(reference) => fetcher.fetch(reference).await?.into(),
    })
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

/// A component's bytes, of a file that is not larger than a component may be.
///
/// # Errors
/// When it cannot be read, or is too large.
pub fn read_bounded(path: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    anyhow::ensure!(
        size <= MAX_COMPONENT_BYTES,
        "it has {size} bytes; a component has {MAX_COMPONENT_BYTES} at the most"
    );
    Ok(std::fs::read(path)?)
}

/// The preamble of a core module: the magic and version 1 with layer 0.
pub fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0")
}

/// Denies by default: whatever is not known and granted is a mistake. What is
/// to be granted is said once, for all imports together.
fn imports_are_granted<'a>(
    name: &str,
    policy: &settings::Policy,
    imports: impl Iterator<Item = &'a str>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let mut missing = Vec::new();
    let mut fine = true;
    let mut of_wasi = Vec::new();
    for import in imports.filter(|import| !may_import(policy, import)) {
        match grant_needed(import) {
            Needed::Nothing => {}
            Needed::Grant(grant) => missing.push((import, grant)),
            Needed::Wasi => of_wasi.push(import),
            Needed::Unknown => {
                fine = false;
                diagnostics.error(
                    &policy.component_place,
                    format!(
                        "policy \"{name}\" imports {}, which this host does not offer",
                        text::clean(import, 200)
                    ),
                    "a policy may import only what wit/policy.wit has",
                );
            }
        }
    }
    // A toolchain that takes any of it takes it all: that is one mistake.
    if let Some((first, others)) = of_wasi.split_first() {
        fine = false;
        let more = match others.len() {
            0 => String::new(),
            others => format!(" (and {others} more of WASI)"),
        };
        diagnostics.error(
            &policy.component_place,
            format!(
                "policy \"{name}\" imports {}{more}, which it is not given",
                text::clean(first, 200)
            ),
            format!(
                "build it without WASI (Rust: target wasm32-unknown-unknown); or, if its toolchain cannot, \
                 write this line in [policies.{name}], which gives it WASI with nothing behind it: wasi = \"stub\""
            ),
        );
    }
    if missing.is_empty() {
        return fine;
    }
    let imports: Vec<_> = missing.iter().map(|(import, _)| *import).collect();
    let granted = policy.grants.iter().copied();
    let mut all: Vec<_> = granted.map(Grant::name).collect();
    for (_, grant) in missing {
        // Two versions of an interface need one grant.
        if !all.contains(&grant.name()) {
            all.push(grant.name());
        }
    }
    diagnostics.error(
        &policy.grants_place,
        format!(
            "policy \"{name}\" imports {}, which it is not granted",
            imports.join(" and ")
        ),
        format!("if it may have that, write this line in [policies.{name}]: grants = {all:?}"),
    );
    false
}

/// The report of imports that a policy is not granted.
#[must_use]
pub fn ungranted(name: &str, policy: &settings::Policy, imports: &[String]) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let imports = imports.iter().map(String::as_str);
    imports_are_granted(name, policy, imports, &mut diagnostics);
    diagnostics
}

fn may_import(policy: &settings::Policy, import: &str) -> bool {
    match grant_needed(import) {
        Needed::Nothing => true,
        Needed::Grant(grant) => policy.grants.contains(&grant),
        Needed::Wasi => policy.wasi == Wasi::Stub,
        Needed::Unknown => false,
    }
}

/// The names of what a component imports, read off its bytes. What is malformed is for the compiler
/// to tell, which comes next and whose word counts.
fn imports(component: &[u8]) -> Vec<String> {
    let mut imports = Vec::new();
    // Of what is inside of it nothing is asked of the gateway.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(Payload::ComponentImportSection(section)) if depth == 0 => {
                let names = section.into_iter().map_while(Result::ok);
                imports.extend(names.map(|import| import.name.name.to_owned()));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    imports
}

/// What it takes for a policy to have an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// Every policy has it.
    Nothing,
    /// The operator's grant.
    Grant(Grant),
    /// The operator's `wasi = "stub"`.
    Wasi,
    /// This host does not offer it.
    Unknown,
}

/// What an import takes, by its name with package and version.
#[must_use]
pub fn grant_needed(import: &str) -> Needed {
    let interface = import
        .strip_prefix(PACKAGE)
        .and_then(|rest| rest.split_once('@'))
        // Within 0.1.x everything older fits what is newer.
        .filter(|(_, version)| version.starts_with("0.1."))
        .and_then(|(name, _)| INTERFACES.iter().find(|interface| interface.name == name));
    match interface {
        None if wasi::is_offered(import) => Needed::Wasi,
        None => Needed::Unknown,
        Some(interface) => interface.grant.map_or(Needed::Nothing, Needed::Grant),
    }
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
        connect: probe(&pre, "on-connect", connect::ConnectPolicyPre::new)?,
        handshake: probe(&pre, "on-handshake", handshake::HandshakePolicyPre::new)?,
        frames: probe(&pre, "on-frames", frames::FramesPolicyPre::new)?,
        close: probe(&pre, "on-close", close::ClosePolicyPre::new)?,
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

fn settings(name: &str, policy: &settings::Policy, digest: &str) -> Settings {
    let config: HashMap<_, _> = policy
        .config
        .iter()
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect();
    Settings {
        name: name.into(),
        speaks_as: policy.speaks_as(name).into(),
        grants: policy.grants.clone(),
        on_failure: policy.on_failure,
        limits: policy.limits.clone(),
        config,
        digest: format!("sha256:{digest}").into(),
        quarantine: policy.quarantine,
    }
}
