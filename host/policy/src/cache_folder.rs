//! Bounded folder of cached files.
//!
//! Only the gateway's user can read it. Entries are written atomically. The least recently used
//! entries are removed first.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::SystemTime;

use base::files::private_folder;

/// Folder of cached files with a limited number of entries.
pub struct CacheFolder {
    /// The folder. It is created when the first entry is stored.
    pub folder: PathBuf,
    /// Extension of the entries; other files in the folder are left alone.
    pub extension: &'static str,
    /// Maximum number of entries.
    pub most: usize,
}

impl CacheFolder {
    /// Path of an entry.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{}", self.extension))
    }

    /// Bytes of an entry, if it exists. The caller has to verify them.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(entry) => Some(entry),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(entry = %path.display(), %error, "a cached file cannot be read");
                }
                None
            }
        }
    }

    /// Marks an entry as used now.
    pub fn used(&self, name: &str) {
        let path = self.path(name);
        let touched = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(folder = %self.folder.display(), %error, "the modification time of a cached file cannot be set");
        }
    }

    /// Removes an entry that failed verification.
    pub fn reject(&self, name: &str, why: &str) {
        let path = self.path(name);
        tracing::warn!(entry = %path.display(), why, "a cached file is invalid, and is removed");
        // What cannot be removed is rejected the next time too.
        drop(fs::remove_file(path));
    }

    /// Stores an entry. A failure is only logged: the entry is made again the next time.
    pub fn put(&self, name: &str, parts: &[&[u8]]) {
        if let Err(error) = self.try_put(name, parts) {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "a file cannot be cached, and is made again the next time");
        }
    }

    fn try_put(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        private_folder(&self.folder)?;
        // Readable by its owner only, as all temporary files are.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.persist(self.path(name))?;
        self.remove_the_oldest()
    }

    fn remove_the_oldest(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let ours = path.extension().is_some_and(|it| it == self.extension);
            // A file that is gone by now was removed by another process.
            if ours && let Ok(modified) = fs::metadata(&path).and_then(|it| it.modified()) {
                entries.push((modified, path));
            }
        }
        entries.sort();
        let too_many = entries.len().saturating_sub(self.most);
        for (_, path) in entries.into_iter().take(too_many) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
