//! Lists whose files changed: they are read anew, without another generation.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::files::SeenFiles;
use super::{ReloadState, Reloader};
use base::blocking::LOADING;
use base::metrics;
use policy::lists::Refreshed;

/// Whether the files of lists differ from the last attempt, and no others.
pub(super) fn alone_differ(state: &ReloadState, now: &SeenFiles) -> bool {
    let lists: BTreeSet<_> = state.lists.values().map(|list| &list.file).collect();
    let changed = now.differing(&state.seen);
    changed.iter().all(|file| lists.contains(file))
}

impl Reloader {
    /// Reads the lists whose files changed. One that cannot be read keeps its entries. Errors are in
    /// the log.
    pub(super) async fn refresh_lists(self: &Arc<Self>, state: &mut ReloadState, now: SeenFiles) {
        let changed: BTreeSet<PathBuf> = now.differing(&state.seen);
        state.seen = now;
        let (this, lists) = (Arc::clone(self), state.lists.clone());
        let reading = LOADING.run(move || {
            this.builder
                .lists()
                .refresh(&lists, |file| changed.contains(file))
        });
        // A panic was logged and counted where it happened. The next change is read again.
        for Refreshed { name, entries } in reading.await.unwrap_or_default() {
            match entries {
                Ok(entries) => {
                    metrics::list_read(&name, "read");
                    tracing::info!(list = %name, entries, "the list changed");
                }
                Err(error) => {
                    metrics::list_read(&name, "refused");
                    tracing::error!(
                        list = %name,
                        "the file of the list {error}; its earlier entries stay in use"
                    );
                }
            }
        }
        // A link on the way to a file may lead elsewhere now.
        self.changed.notify_one();
    }
}
