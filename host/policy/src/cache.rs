//! Compiled components on disk, so that a start does not compile again what an
//! earlier one did.
//!
//! # What is trusted, and why
//!
//! A compiled component is machine code: whoever can choose its bytes runs
//! code in the gateway. So an entry is loaded only if the gateway wrote it
//! itself. Each begins with a keyed digest (HMAC-SHA-256) over its content, the
//! digest of the component that it was compiled from, and everything about the
//! engine that matters to the code. The key is made at random, and lies in the
//! folder; key and folder must belong to the user that the gateway runs as, and
//! nobody else may even read them. Who can read that key is that user, or root,
//! and could replace the gateway's own binary or its keys for tokens as well.
//!
//! A damaged entry, one of another engine, one that was put there by somebody
//! else or renamed is removed, and the component is compiled.

use std::fs::{self, File};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache_folder::CacheFolder;
use super::compile;
use base::files::private_folder;
use base::text;

/// Entries that are kept.
const MAX_ENTRIES: usize = 64;
/// What is signed begins with this, so that the key is good for nothing else.
const PURPOSE: &[u8] = b"sluice compiled component 1\0";
const TAG_BYTES: usize = 32;
const KEY_BYTES: usize = 32;

/// The digest of a component's own bytes.
pub type Digest = [u8; 32];

/// Cache of compiled components on disk, with signed entries.
pub struct Cache {
    entries: CacheFolder,
    key: hmac::Key,
    /// Everything about the engine that compiled code depends on.
    engine: Digest,
}

impl Cache {
    /// Opens the cache in a folder, which is made where it is not there.
    ///
    /// # Errors
    /// Where the folder or the key is not the gateway's alone, or cannot be
    /// made.
    pub fn open(folder: PathBuf, engine: &Engine) -> io::Result<Self> {
        private_folder(&folder)?;
        owned_alone(&folder, &fs::symlink_metadata(&folder)?)?;
        let key = load_or_make_key(&folder.join("key"))?;
        let mut hasher = Collect(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            entries: CacheFolder {
                folder,
                extension: "cwasm",
                most: MAX_ENTRIES,
            },
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            engine: hasher.0.finalize().into(),
        })
    }

    /// The compiled component, if it is there and the gateway's own.
    #[must_use]
    pub fn load(&self, engine: &Engine, component: &Digest) -> Option<Component> {
        let name = self.entry(component);
        let entry = self.entries.read(&name)?;
        // The keyed digest says that this gateway made it for this engine; the module's
        // documentation says who else could have.
        let loaded = self
            .verified(&entry, component)
            .map(|code| compile::load(engine, code));
        let problem = match loaded {
            Some(Ok(component)) => {
                self.entries.used(&name);
                return Some(component);
            }
            Some(Err(error)) => error.to_string(),
            None => "it is damaged, or not this gateway's".to_owned(),
        };
        self.entries.reject(&name, &problem);
        None
    }

    /// Keeps a compiled component, in one step. Where that fails it is compiled
    /// again another time.
    pub fn store(&self, component: &Digest, code: &[u8]) {
        let tag = self.tag(code, component);
        self.entries
            .put(&self.entry(component), &[tag.as_ref(), code]);
    }

    fn entry(&self, component: &Digest) -> String {
        let (component, engine) = (text::hex(component), text::hex(&self.engine[..8]));
        format!("{component}-{engine}")
    }

    /// The code of an entry, if the gateway wrote it for this component.
    fn verified<'a>(&self, entry: &'a [u8], component: &Digest) -> Option<&'a [u8]> {
        let (tag, code) = entry.split_at_checked(TAG_BYTES)?;
        // In constant time.
        hmac::verify(&self.key, &self.signed(code, component), tag).ok()?;
        Some(code)
    }

    fn tag(&self, code: &[u8], component: &Digest) -> hmac::Tag {
        hmac::sign(&self.key, &self.signed(code, component))
    }

    /// All parts but the last have a fixed length.
    fn signed(&self, code: &[u8], component: &Digest) -> Vec<u8> {
        let code = Sha256::digest(code);
        [PURPOSE, &self.engine, component, &code].concat()
    }
}

/// A key that is cut short is replaced. A power cut can leave one where the file system had its
/// name and not its content, and it is good for nothing: all that it had signed is made again.
fn load_or_make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match File::open(path) {
        Ok(file) => {
            owned_alone(path, &file.metadata()?)?;
            let mut key = Vec::with_capacity(KEY_BYTES);
            file.take(KEY_BYTES as u64).read_to_end(&mut key)?;
            if let Ok(key) = key.try_into() {
                return Ok(key);
            }
            tracing::warn!(
                key = %path.display(),
                "the key of compiled components is cut short: a new one is made, and components are compiled again"
            );
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    make_key(path)
}

/// Makes a key that is there as a whole or not at all, whatever becomes of the machine.
fn make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no randomness to be had"))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    // Readable by its owner only.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(folder)?.sync_all()?;
    Ok(key)
}

fn owned_alone(path: &Path, metadata: &fs::Metadata) -> io::Result<()> {
    let others = metadata.mode() & 0o077;
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if ours && others == 0 && !metadata.is_symlink() {
        return Ok(());
    }
    let message = format!(
        "{} must belong to the gateway's user, and to nobody else: chmod go= it, or remove it",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
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
