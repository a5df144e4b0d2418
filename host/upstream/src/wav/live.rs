//! The recordings that this process writes, or holds for clients that may come back.
//!
//! They are known by the names of their files, which no two have: each holds the random part of its
//! session's id. A name is here before its file is there, and so a file whose name is not here is
//! finished, and stays so.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// How many files of each name there are, or are about to be: more than one only in theory.
static NAMES: LazyLock<Mutex<HashMap<OsString, usize>>> = LazyLock::new(Mutex::default);

/// Keeps one recording among the live ones.
#[derive(Debug)]
pub(super) struct Live(OsString);

impl Live {
    /// Of a file that is about to be created.
    pub(super) fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_owned();
        *names().entry(name.clone()).or_default() += 1;
        Self(name)
    }
}

impl Drop for Live {
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

/// Whether somebody writes to the file of that name, or may do so again.
pub(super) fn is_live(name: &OsStr) -> bool {
    names().contains_key(name)
}

/// A map is whole after each step, whatever panicked meanwhile.
fn names() -> MutexGuard<'static, HashMap<OsString, usize>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}
