//! Lists whose files changed: they are read anew, without another generation.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::files::SeenFiles;
use super::{ReloadState, Reloader};
use base::blocking::LOADING;
use base::metrics;
use policy::lists::Refreshed;

/// Whether reading these lists anew is all that there is to do: no file but theirs differs from
/// those that serve, or from those of the last attempt. Another one may, of a reload that was refused,
/// and it may be right by now. It may also be back as it serves, and be missed all the same.
pub(super) fn alone_differ(state: &ReloadState, now: &SeenFiles) -> bool {
    let lists = files(state);
    [&state.served, &state.seen].into_iter().all(|before| {
        let changed = now.differing(before);
        changed.iter().all(|file| lists.contains(file))
    })
}

/// Files of the lists that serve.
fn files(state: &ReloadState) -> BTreeSet<PathBuf> {
    let lists = state.lists.values();
    lists.map(|list| list.file.clone()).collect()
}

impl Reloader {
    /// Reads the lists whose files differ from the last attempt.
    pub(super) async fn refresh_lists(&self, state: &mut ReloadState, now: SeenFiles) {
        let changed = now.differing(&state.seen);
        self.read_lists(state, changed, &now).await;
        state.seen = now;
    }

    /// After a reload that was refused: reads the lists that changed nevertheless. A tenant that is
    /// blocked now must not wait for a mistake elsewhere.
    pub(super) async fn refresh_lists_anyway(&self, state: &mut ReloadState) {
        let lists = files(state);
        let now = state.served.again_of(lists.clone()).await;
        let mut changed = now.differing(&state.served);
        changed.retain(|file| lists.contains(file));
        self.read_lists(state, changed, &now).await;
        // The configuration that was refused may name others, and these serve on.
        state.seen.take(&now, &lists);
    }

    /// Reads the lists of these files. One that cannot be read keeps its entries. Errors are in the
    /// log.
    async fn read_lists(
        &self,
        state: &mut ReloadState,
        changed: BTreeSet<PathBuf>,
        now: &SeenFiles,
    ) {
        let (shelf, lists) = (Arc::clone(self.builder.lists()), state.lists.clone());
        let reading = LOADING.run(move || shelf.refresh(&lists, |file| changed.contains(file)));
        let mut read = BTreeSet::new();
        // A panic was logged and counted where it happened. The next change is read again.
        for Refreshed {
            name,
            file,
            entries,
        } in reading.await.unwrap_or_default()
        {
            match entries {
                Ok(entries) => {
                    metrics::list_read(&name, "read");
                    tracing::info!(list = %name, entries, "the list changed");
                    read.insert(file);
                }
                Err(error) => {
                    metrics::list_read(&name, "refused");
                    tracing::error!(
                        list = %name,
                        file = %file.display(),
                        "the file of the list {error}; its earlier entries stay in use; {}",
                        error.help()
                    );
                }
            }
        }
        state.served.take(now, &read);
        // A link on the way to a file may lead elsewhere now.
        self.changed.notify_one();
    }
}
