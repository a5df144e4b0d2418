//! Watches the folders of the configuration's files.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::Reloader;
use crate::keys::Availability;

/// A file that is copied, or a volume that is swapped, is many events: they
/// are over when none has come for this long.
const QUIET: Duration = Duration::from_millis(300);
/// In a folder where something happens all the time, how often to wait for
/// quiet before looking anyway.
const PATIENCE: u32 = 10;
/// How often to look for keys that cannot be had: a folder that went away with
/// them has no event when it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// Reloads whenever a file of the configuration has another content, for as
/// long as the gateway runs. Where the machine cannot watch, that is logged,
/// and there are still the signal and the admin listener.
pub async fn watch(reloader: Arc<Reloader>) {
    let changed = Arc::new(Notify::new());
    let mut folders = match Folders::new(Arc::clone(&changed)) {
        Ok(folders) => folders,
        Err(error) => {
            tracing::warn!(%error, "files cannot be watched; reload by SIGHUP or POST /reload");
            return;
        }
    };
    loop {
        folders.watch_only(reloader.folders().await);
        // What changed before they were watched had no event.
        reloader.reload_if_changed().await;
        match reloader.keys().await {
            Availability::Whole => changed.notified().await,
            // Either way it is time to look.
            Availability::Lacking => drop(timeout(RETRY, changed.notified()).await),
        }
        for _ in 0..PATIENCE {
            if timeout(QUIET, changed.notified()).await.is_err() {
                break;
            }
        }
    }
}

struct Folders {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    fn new(changed: Arc<Notify>) -> notify::Result<Self> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error may be an event that was lost.
            if event.is_ok_and(|event| only_looks(event.kind)) {
                return;
            }
            changed.notify_one();
        })?;
        Ok(Self {
            watcher,
            watched: BTreeSet::new(),
        })
    }

    fn watch_only(&mut self, wanted: BTreeSet<PathBuf>) {
        for folder in self.watched.difference(&wanted) {
            // It may be gone, and then it is not watched either.
            drop(self.watcher.unwatch(folder));
        }
        let (watcher, watched) = (&mut self.watcher, &self.watched);
        self.watched = wanted
            .into_iter()
            .filter(|folder| {
                // One that went away is not watched any more, even if it is back.
                watched.contains(folder) && folder.exists()
                    || watcher
                        .watch(folder, RecursiveMode::NonRecursive)
                        .inspect_err(|error| {
                            let folder = folder.display();
                            tracing::warn!(%folder, %error, "a folder cannot be watched");
                        })
                        .is_ok()
            })
            .collect();
    }
}

/// Whether nothing can have changed. Reading the files again is an event too.
fn only_looks(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
