//! A folder of what can be had again, for this user alone: entries are written
//! in one step, and the ones that were not used for longest go first.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::SystemTime;

use base::files::private_folder;

/// See the module.
pub struct Shelf {
    /// The folder, which need not be there.
    pub folder: PathBuf,
    /// By which its entries are told from what else is in the folder.
    pub extension: &'static str,
    /// Entries that are kept.
    pub most: usize,
}

impl Shelf {
    /// The file of an entry.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{}", self.extension))
    }

    /// An entry as it is. It may be anything until it is verified.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(entry) => Some(entry),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(entry = %path.display(), %error, "what was kept cannot be read");
                }
                None
            }
        }
    }

    /// An entry was good for something.
    pub fn used(&self, name: &str) {
        let path = self.path(name);
        let touched = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(folder = %self.folder.display(), %error, "an entry keeps its old time");
        }
    }

    /// An entry is not what it should be.
    pub fn reject(&self, name: &str, why: &str) {
        let path = self.path(name);
        tracing::warn!(entry = %path.display(), why, "what was kept is not used, and removed");
        // What cannot be removed is rejected the next time too.
        drop(fs::remove_file(path));
    }

    /// Keeps an entry. Where that fails it is made again another time.
    pub fn put(&self, name: &str, parts: &[&[u8]]) {
        if let Err(error) = self.try_put(name, parts) {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "something was not kept, and is made again the next time");
        }
    }

    fn try_put(&self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        private_folder(&self.folder)?;
        // Readable by its owner only, as all that this makes.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.persist(self.path(name))?;
        self.forget_the_oldest()
    }

    fn forget_the_oldest(&self) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let ours = path.extension().is_some_and(|it| it == self.extension);
            // One that has gone by now was forgotten by somebody else.
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
