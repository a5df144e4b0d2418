//! Recordings that this process is writing, or holds for clients that may come back.
//!
//! They are known by their file names, which are unique: each contains the random part of its
//! session id. A name is registered before its file is created. So a file whose name is not
//! registered is finished, and stays so.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// Number of files of each name that exist or are about to. More than one is possible only in
/// theory.
static NAMES: LazyLock<Mutex<HashMap<OsString, usize>>> = LazyLock::new(Mutex::default);

/// Registration of a live recording, until this is dropped.
#[derive(Debug)]
pub(super) struct LiveRecording(OsString);

impl LiveRecording {
    /// Registers a file that is about to be created.
    pub(super) fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_owned();
        *names().entry(name.clone()).or_default() += 1;
        Self(name)
    }
}

impl Drop for LiveRecording {
    fn drop(&mut self) {
        let mut names = names();
        if let Some(count) = names.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                names.remove(&self.0);
            }
        }
    }
}

/// Whether a live recording has this file name.
pub(super) fn is_live(name: &OsStr) -> bool {
    names().contains_key(name)
}

/// A map is consistent after every step, so poisoning does not matter.
fn names() -> MutexGuard<'static, HashMap<OsString, usize>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}
