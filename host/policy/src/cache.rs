//! Compiled components on disk, so that a start does not compile again what an earlier one did.
//!
//! What is read back is machine code: the [signed folder](super::signed_folder) says why it is trusted.
//! An entry is about the digest of the component that it was compiled from, and everything about the
//! engine that matters to the code.

use std::hash::{Hash as _, Hasher};
use std::io;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compile;
use super::signed_folder::SignedFolder;
use base::text;

/// Entries that are kept.
const MAX_ENTRIES: usize = 64;
const PURPOSE: &[u8] = b"sluice compiled component 1\0";

/// The digest of a component's own bytes.
pub type Digest = [u8; 32];

/// Cache of compiled components on disk, with signed entries.
pub struct Cache {
    entries: SignedFolder,
    /// Everything about the engine that compiled code depends on.
    engine: Digest,
}

impl Cache {
    /// Opens the cache in a folder, which is made where it is not there.
    ///
    /// # Errors
    /// As [`SignedFolder::open`].
    pub fn open(folder: PathBuf, engine: &Engine) -> io::Result<Self> {
        let mut hasher = Collect(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            entries: SignedFolder::open(folder, "cwasm", MAX_ENTRIES, PURPOSE)?,
            engine: hasher.0.finalize().into(),
        })
    }

    /// The compiled component, if it is there and the gateway's own.
    #[must_use]
    pub fn load(&self, engine: &Engine, component: &Digest) -> Option<Component> {
        let name = self.entry(component);
        // The keyed digest says that this gateway made it for this engine.
        let code = self.entries.read(&name, &self.about(component))?;
        match compile::load(engine, &code) {
            Ok(component) => {
                self.entries.used(&name);
                Some(component)
            }
            Err(error) => {
                self.entries.reject(&name, &error.to_string());
                None
            }
        }
    }

    /// Keeps a compiled component, in one step. Where that fails it is compiled
    /// again another time.
    pub fn store(&self, component: &Digest, code: &[u8]) {
        let about = self.about(component);
        self.entries.put(&self.entry(component), &about, code);
    }

    fn entry(&self, component: &Digest) -> String {
        let (component, engine) = (text::hex(component), text::hex(&self.engine[..8]));
        format!("{component}-{engine}")
    }

    fn about(&self, component: &Digest) -> Vec<u8> {
        [self.engine, *component].concat()
    }
}

/// Hashes what is fed to it with SHA-256.
struct Collect(Sha256);

impl Hasher for Collect {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests;
