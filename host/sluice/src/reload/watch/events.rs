//! Events of the file system, for the names that matter.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::places::Places;

/// How often the folders are gone through before they are taken as they are, where somebody
/// changes them all the while. The change itself has an event.
const MOST_ROUNDS: usize = 5;

/// Whether every change has an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Coverage {
    /// It has, where the file system tells of changes at all.
    Events,
    /// It has not: there is no watcher, or it does not take all folders.
    Gaps {
        /// The first reason.
        why: String,
    },
}

/// Watches the places of some files.
pub(super) struct Events {
    make: Make,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    names: Arc<ArcSwap<BTreeSet<PathBuf>>>,
    changed: Arc<Notify>,
}

/// Makes a watcher: the machine's own, except in tests.
pub(super) type Make = fn(Handler) -> notify::Result<RecommendedWatcher>;

/// What an event is given to, on the watcher's own thread.
pub(super) struct Handler {
    names: Arc<ArcSwap<BTreeSet<PathBuf>>>,
    changed: Arc<Notify>,
}

impl notify::EventHandler for Handler {
    fn handle_event(&mut self, event: notify::Result<notify::Event>) {
        let names = self.names.load();
        // An error may be an event that was lost.
        if event.is_ok_and(|event| !matters(&event, &names)) {
            return;
        }
        self.changed.notify_one();
    }
}

/// Whether a name that matters may lead to something else now.
fn matters(event: &notify::Event, names: &BTreeSet<PathBuf>) -> bool {
    event.need_rescan()
        || event.paths.is_empty()
        || !only_looks(event.kind) && event.paths.iter().any(|path| names.contains(path))
}

/// Whether nothing can have changed. Reading the files again is an event too.
fn only_looks(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

impl Events {
    /// Nothing is watched yet. `changed` is told of every event that matters.
    pub(super) fn new(make: Make, changed: Arc<Notify>) -> Self {
        Self {
            make,
            watcher: None,
            watched: BTreeSet::new(),
            names: Arc::default(),
            changed,
        }
    }

    /// Watches the places of these files as they are now, and nothing else. A folder that was
    /// watched before is watched afresh: it may be another one of the same name. What changes
    /// meanwhile may have no event, so the files are to be looked at after this. Blocks as files do.
    pub(super) fn arm(&mut self, files: &BTreeSet<PathBuf>) -> Coverage {
        let mut watcher = match self.watcher.take().map_or_else(|| self.make(), Ok) {
            Ok(watcher) => watcher,
            Err(error) => return gap(&error),
        };
        for folder in std::mem::take(&mut self.watched) {
            // It may be gone, and then it is not watched either.
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
                    // Gone again already: the folder above it has an event.
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
