//! The file of a key set, and whether it can still be read.
//!
//! Keys are read once for each generation of the configuration. While their file is missing or
//! unreadable, the key set rejects every token with 4012 (`auth_unavailable`), and clients may come
//! back. If the file has other content, a reload reads it. Invalid content is a mistake in the
//! configuration like any other, and the earlier keys stay in use.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// File that the keys of a set were read from, and whether it is missing.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    gone: AtomicBool,
}

impl KeyFile {
    /// File that was read just now.
    pub(super) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            gone: AtomicBool::new(false),
        }
    }

    /// Whether the file was missing or unreadable at the last check.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Logs that keys were read from the file again.
    pub(super) fn is_back(&self, key_set: &str) {
        let file = self.path.display();
        tracing::info!(key_set, %file, "keys are available again");
    }

    /// Checks whether the file can still be read. Blocks.
    pub(super) fn look(&self, key_set: &str) {
        let found = can_be_read(&self.path);
        let was_gone = self.gone.swap(found.is_err(), Ordering::Relaxed);
        let file = self.path.display();
        match found {
            Err(error) if !was_gone => tracing::error!(
                key_set, %file, %error,
                "the key file is missing or unreadable; its key set rejects every token with 4012 \
                 (auth_unavailable)"
            ),
            // No keys were read from it: the reload before this check was refused.
            Ok(()) if was_gone => tracing::warn!(
                key_set, %file,
                "the key file is readable again, but its reload was refused; tokens are verified \
                 with the earlier keys"
            ),
            Ok(()) | Err(_) => {}
        }
    }
}

/// Fails for a folder too, which can be opened like a file.
fn can_be_read(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.read(&mut [0]).map(drop)
}
