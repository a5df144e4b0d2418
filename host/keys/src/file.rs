//! The file that a set's keys were read from, and whether it is still there.
//!
//! Keys are read once for each generation, and held. Whoever takes their file
//! away, or the right to read it, takes the keys away: tokens are then neither
//! good nor bad, and their clients are told to come back (4012). A file that
//! holds something else is another matter, a mistake like any other in the
//! configuration, and the keys that were right before it are kept.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    gone: AtomicBool,
}

impl KeyFile {
    /// A file that was read just now.
    pub(super) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            gone: AtomicBool::new(false),
        }
    }

    /// As of the last look.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Says that keys were read from it again.
    pub(super) fn is_back(&self, key_set: &str) {
        let file = self.path.display();
        tracing::info!(key_set, %file, "keys can be had again");
    }

    /// Looks whether it can still be read. Blocks as files do.
    pub(super) fn look(&self, key_set: &str) {
        let found = can_be_read(&self.path);
        let was_gone = self.gone.swap(found.is_err(), Ordering::Relaxed);
        let file = self.path.display();
        match found {
            Err(error) if !was_gone => tracing::error!(
                key_set, %file, %error,
                "keys cannot be had: no token is checked until their file can be read again (4012)"
            ),
            // Nobody has read keys from it: this look comes behind a reload that was refused.
            Ok(()) if was_gone => tracing::warn!(
                key_set, %file,
                "the file of keys can be read again, but it was not taken up: tokens are checked \
                 with the keys from before"
            ),
            Ok(()) | Err(_) => {}
        }
    }
}

/// A folder opens like a file.
fn can_be_read(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.read(&mut [0]).map(drop)
}
