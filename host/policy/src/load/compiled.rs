//! From the place of a component to a component that is compiled.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use super::grants::{imports, may_import};
use crate::cache;
use crate::compile::CompileError;
use crate::engine::Engine;
use crate::fetch::{FetchError, Fetcher, MAX_COMPONENT_BYTES};
use crate::settings;
use crate::signature::{self, MAX_BUNDLE_BYTES, SignatureError, Signatures};
use base::blocking::LOADING;
use base::text;

/// A component with the digest of its own bytes, in hexadecimal.
pub struct Compiled {
    /// Ready to be linked.
    pub component: Component,
    /// Of the file, not of the compiled code.
    pub digest: String,
    /// Who has signed it, if somebody must.
    pub signer: Option<String>,
    /// The names of what it imports.
    pub(super) imports: Vec<String>,
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
    /// It does not count as signed.
    #[error(transparent)]
    Signature(#[from] SignatureError),
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
    let (bytes, bundle) = read(policy, fetcher).await?;
    let policy = policy.clone();
    let compiling = move || {
        let digest: cache::Digest = Sha256::digest(&bytes).into();
        let found = text::hex(&digest);
        // Before anything else is made of it.
        if pin.is_some_and(|pin| pin != found) {
            return Err(LoadError::Pin { found });
        }
        let trusted = matches!(policy.component, settings::Component::Builtin(_));
        let signer = match &policy.signatures {
            Signatures::Of(signers) if !trusted => {
                let signer = signature::verify(&bytes, bundle.as_deref(), signers)?;
                Some(signer.name().to_owned())
            }
            Signatures::Of(_) | Signatures::NotAsked => None,
        };
        if is_core_module(&bytes) {
            let problem = "it is a core WebAssembly module, not a component".to_owned();
            return Err(CompileError::Invalid(problem).into());
        }
        let imports = imports(&bytes);
        if !imports.iter().all(|import| may_import(&policy, import)) {
            return Err(LoadError::Imports(imports));
        }
        let component = engine.compile(&bytes, &digest, trusted, policy.limits.compile)?;
        Ok(Compiled {
            component,
            digest: found,
            signer,
            imports,
        })
    };
    LOADING
        .run(compiling)
        .await
        .context("the compiler panicked")?
}

/// A component's bytes, and what may be its signature, if one is asked for.
async fn read(
    policy: &settings::Policy,
    fetcher: &Fetcher,
) -> Result<(Cow<'static, [u8]>, Option<Vec<u8>>), LoadError> {
    let signatures = policy.signatures.clone();
    Ok(match &policy.component {
        settings::Component::Builtin(name) => {
            let bytes = builtin(name).with_context(|| format!("there is no builtin:{name}"))?;
            (bytes.into(), None)
        }
        settings::Component::File(path) => {
            let file = path.clone();
            let reading = LOADING.run(move || {
                let bundle = match signatures {
                    Signatures::Of(_) => read_bundle(&file)?,
                    Signatures::NotAsked => None,
                };
                Ok((read_bounded(&file)?, bundle))
            });
            let read: anyhow::Result<_> = reading
                .await
                .context("the thread that was to read it panicked")?;
            let (bytes, bundle) = read.with_context(|| path.display().to_string())?;
            (bytes.into(), bundle)
        }
        settings::Component::Oci(reference) => {
            let fetched = fetcher.fetch(reference, &signatures).await?;
            (fetched.component.into(), fetched.bundle)
        }
    })
}

/// The signature beside a component, if there is one.
///
/// # Errors
/// When it cannot be read, or is too large.
pub fn read_bundle(component: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let path = signature::beside(component);
    let shown = || format!("its signature {}", path.display());
    match path.metadata() {
        // To open a pipe would wait for whoever writes to it.
        Ok(found) => anyhow::ensure!(found.is_file(), "{} is no regular file", shown()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(shown),
    }
    let mut bytes = Vec::new();
    let read =
        File::open(&path).and_then(|file| file.take(MAX_BUNDLE_BYTES + 1).read_to_end(&mut bytes));
    read.with_context(shown)?;
    anyhow::ensure!(
        bytes.len() as u64 <= MAX_BUNDLE_BYTES,
        "{} has more than {MAX_BUNDLE_BYTES} bytes",
        shown()
    );
    Ok(Some(bytes))
}

/// A component's bytes, of a file that is not larger than a component may be.
///
/// # Errors
/// When it cannot be read, or is too large.
pub fn read_bounded(path: &Path) -> anyhow::Result<Vec<u8>> {
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

/// The component of a built-in policy, by the name after `builtin:`.
#[must_use]
pub fn builtin(name: &str) -> Option<&'static [u8]> {
    match name {
        "auth" => Some(include_bytes!(concat!(env!("OUT_DIR"), "/auth.wasm"))),
        "duplicate" => Some(include_bytes!(concat!(env!("OUT_DIR"), "/duplicate.wasm"))),
        "sample-rate" => Some(include_bytes!(concat!(
            env!("OUT_DIR"),
            "/sample-rate.wasm"
        ))),
        _ => None,
    }
}
