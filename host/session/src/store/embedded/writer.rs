//! The thread of the store that writes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use redb::Database;

use super::file::{Changes, commit, open};
use super::{Shared, Waiting};
use crate::store::StoreError;
use base::metrics;

/// Pause before removals are tried again after the disk has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The thread that writes.
pub(super) struct Writer {
    shared: Arc<Shared>,
    file: PathBuf,
    /// `None` after the disk has failed, until the file is open again.
    database: Option<Database>,
    /// Keys of records whose removal has failed.
    removals: HashSet<Arc<str>>,
    disk: Disk,
}

/// Whoever waits is told, also if the thread has panicked: the library may, on a broken file.
impl Drop for Writer {
    fn drop(&mut self) {
        let mut waiting = self.shared.lock();
        waiting.has_ended = true;
        waiting.changes.clear();
        // Dropped unsent, they say so.
        waiting.told.clear();
    }
}

/// What the last transaction showed of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Works,
    Fails,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, file: &Path, database: Database) -> Self {
        Self {
            shared,
            file: file.to_owned(),
            database: Some(database),
            removals: HashSet::new(),
            disk: Disk::Works,
        }
    }

    /// Writes until the store ends.
    pub(super) fn run(mut self) {
        loop {
            let Waiting {
                mut changes,
                told,
                has_ended,
                ..
            } = self.next();
            for key in self.removals.drain() {
                changes.entry(key).or_insert(None);
            }
            let written = if changes.is_empty() {
                Ok(())
            } else {
                self.write(&changes)
            };
            if has_ended {
                self.database = None;
            }
            for waiter in told {
                // Whoever gave up waiting is not told.
                let _ = waiter.send(written.clone());
            }
            self.found(&written);
            if has_ended {
                return;
            }
            if written.is_err() {
                // The owners of records that were to be saved were told that they are not.
                let removals = changes.into_iter().filter(|(_, change)| change.is_none());
                self.removals = removals.map(|(key, _)| key).collect();
                self.database = None;
            }
        }
    }

    /// Waits for changes. Removals that have failed are tried again after a pause.
    fn next(&self) -> Waiting {
        let mut waiting = self.shared.lock();
        while waiting.is_empty() && !waiting.has_ended {
            let changed = &self.shared.changed;
            if self.removals.is_empty() {
                waiting = changed
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (now, waited) = changed
                .wait_timeout(waiting, PAUSE)
                .unwrap_or_else(PoisonError::into_inner);
            waiting = now;
            if waited.timed_out() {
                break;
            }
        }
        Waiting {
            changes: std::mem::take(&mut waiting.changes),
            told: std::mem::take(&mut waiting.told),
            known: HashSet::new(),
            has_ended: waiting.has_ended,
        }
    }

    /// Logs when the disk begins to fail, and when it works again.
    fn found(&mut self, written: &Result<(), StoreError>) {
        let file = self.file.display();
        match (written, self.disk) {
            (Ok(()), Disk::Works) => {}
            (Ok(()), Disk::Fails) => tracing::info!(%file, "streams can be stored again"),
            (Err(error), Disk::Works) => {
                tracing::error!(%file, %error, "streams cannot be stored: new ones cannot be resumed");
            }
            (Err(error), Disk::Fails) => tracing::debug!(%file, %error, "still"),
        }
        self.disk = match written {
            Ok(()) => Disk::Works,
            Err(_) => {
                metrics::store_failed();
                Disk::Fails
            }
        };
    }

    fn write(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open(&self.file).map_err(disk)?,
        };
        let database = self.database.insert(database);
        commit(database, changes).map_err(disk)
    }
}

fn disk(error: impl Into<redb::Error>) -> StoreError {
    StoreError::Disk(error.into().to_string())
}
