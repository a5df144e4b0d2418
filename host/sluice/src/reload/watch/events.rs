//! File system events for the watched names.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::places::Places;

/// Maximum number of passes over the folders, if they keep changing meanwhile. The changes
/// themselves have events.
const MOST_ROUNDS: usize = 5;

/// Whether every change has an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Coverage {
    /// Every change has one, if the file system reports changes at all.
    Events,
    /// Some have none: there is no watcher, or it cannot watch all folders.
    Gaps {
        /// First reason.
        why: String,
    },
}

/// Watcher of the places of some files.
pub(super) struct Events {
    make: Make,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    names: Arc<ArcSwap<BTreeSet<PathBuf>>>,
    changed: Arc<Notify>,
}

/// Constructor of a watcher: the system's own, except in tests.
pub(super) type Make = fn(Handler) -> notify::Result<RecommendedWatcher>;

/// Handler of events, on the watcher's thread.
pub(super) struct Handler {
    names: Arc<ArcSwap<BTreeSet<PathBuf>>>,
    changed: Arc<Notify>,
}

impl notify::EventHandler for Handler {
    fn handle_event(&mut self, event: notify::Result<notify::Event>) {
        let names = self.names.load();
        // An error may be a lost event.
        if event.is_ok_and(|event| !matters(&event, &names)) {
            return;
        }
        self.changed.notify_one();
    }
}

/// Whether an event may change the target of a watched name.
fn matters(event: &notify::Event, names: &BTreeSet<PathBuf>) -> bool {
    event.need_rescan()
        || event.paths.is_empty()
        || !only_looks(event.kind) && event.paths.iter().any(|path| names.contains(path))
}

/// Whether an event cannot be a change. Reading the files causes events too.
fn only_looks(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

impl Events {
    /// Watcher of nothing yet. `changed` is notified of every relevant event.
    pub(super) fn new(make: Make, changed: Arc<Notify>) -> Self {
        Self {
            make,
            watcher: None,
            watched: BTreeSet::new(),
            names: Arc::default(),
            changed,
        }
    }

    /// Watches the current places of these files, and nothing else. A folder that was watched
    /// before is watched anew, because it may be another one of the same name. A change during this
    /// call may have no event, so the files must be checked after it. Blocks.
    pub(super) fn arm(&mut self, files: &BTreeSet<PathBuf>) -> Coverage {
        let mut watcher = match self.watcher.take().map_or_else(|| self.make(), Ok) {
            Ok(watcher) => watcher,
            Err(error) => return gap(&error),
        };
        for folder in std::mem::take(&mut self.watched) {
            // The folder may be gone, and then it is not watched.
            drop(watcher.unwatch(&folder));
        }
        let mut coverage = Coverage::Events;
        for _ in 0..MOST_ROUNDS {
            let places = Places::of(files);
            self.names.store(Arc::new(places.names));
            coverage = Coverage::Events;
            let mut added = false;
            for folder in places.folders {
                if self.watched.contains(&folder) {
                    continue;
                }
                match watcher.watch(&folder, RecursiveMode::NonRecursive) {
                    Ok(()) => added = self.watched.insert(folder),
                    // The folder is gone again. The folder above it has an event.
                    Err(_) if !folder.is_dir() => added = true,
                    Err(error) => coverage = gap(&error),
                }
            }
            if !added {
                break;
            }
        }
        self.watcher = Some(watcher);
        coverage
    }

    fn make(&self) -> notify::Result<RecommendedWatcher> {
        (self.make)(Handler {
            names: Arc::clone(&self.names),
            changed: Arc::clone(&self.changed),
        })
    }
}

fn gap(error: &notify::Error) -> Coverage {
    Coverage::Gaps {
        why: error.to_string(),
    }
}
