//! Bounded folder of machine code that only this gateway can have written.
//!
//! # What is trusted, and why
//!
//! Whoever can choose the bytes of machine code runs code in the gateway. So a file is read only if
//! the gateway wrote it itself. Each begins with a keyed digest (HMAC-SHA-256) over its content and
//! what it is about. The key is made at random, and lies in the folder; key and folder must belong
//! to the user that the gateway runs as, and nobody else may even read them. Who can read that key
//! is that user, or root, and could replace the gateway's own binary or its keys for tokens as well.
//!
//! A file that is damaged, about something else, put there by somebody else or renamed is removed.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use sha2::{Digest as _, Sha256};

use super::cache_folder::CacheFolder;
use base::files::private_folder;

pub(crate) const TAG_BYTES: usize = 32;
pub(crate) const KEY_BYTES: usize = 32;

/// Folder of files that only this gateway can have written.
pub struct SignedFolder {
    files: CacheFolder,
    key: hmac::Key,
    /// What is signed begins with this, so that a file is good for nothing else.
    purpose: &'static [u8],
}

impl SignedFolder {
    /// Opens the folder, which is made where it is not there. Other kinds of files may be in it.
    ///
    /// # Errors
    /// Where the folder or the key is not the gateway's alone, or cannot be made.
    pub fn open(
        folder: PathBuf,
        extension: &'static str,
        most: usize,
        purpose: &'static [u8],
    ) -> io::Result<Self> {
        private_folder(&folder)?;
        owned_alone(&folder, &fs::symlink_metadata(&folder)?)?;
        let key = load_or_make_key(&folder.join("key"))?;
        Ok(Self {
            files: CacheFolder {
                folder,
                extension,
                most,
            },
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            purpose,
        })
    }

    /// Path of a file.
    #[cfg(test)]
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path(name)
    }

    /// What is in a file after its keyed digest, if the gateway wrote it about this. `about` has
    /// the same length for all files of one purpose.
    #[must_use]
    pub fn read(&self, name: &str, about: &[u8]) -> Option<Vec<u8>> {
        let mut file = self.files.read(name)?;
        let is_ours = file
            .split_at_checked(TAG_BYTES)
            .is_some_and(|(tag, content)| {
                // In constant time.
                hmac::verify(&self.key, &self.signed(about, content), tag).is_ok()
            });
        if !is_ours {
            self.reject(name, "it is damaged, or not this gateway's");
            return None;
        }
        file.drain(..TAG_BYTES);
        Some(file)
    }

    /// Writes a file in one step. Where that fails, its content is made again another time.
    pub fn put(&self, name: &str, about: &[u8], content: &[u8]) {
        let tag = hmac::sign(&self.key, &self.signed(about, content));
        self.files.put(name, &[tag.as_ref(), content]);
    }

    /// Marks a file as used now.
    pub fn used(&self, name: &str) {
        self.files.used(name);
    }

    /// Removes a file that is good for nothing.
    pub fn reject(&self, name: &str, why: &str) {
        self.files.reject(name, why);
    }

    fn signed(&self, about: &[u8], content: &[u8]) -> Vec<u8> {
        [self.purpose, about, &Sha256::digest(content)].concat()
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
