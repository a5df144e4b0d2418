//! Store in one file on this machine's disk (redb).
//!
//! One thread writes. It takes everything that waits as one transaction, so that a thousand records
//! at once cost one wait for the disk. Of several changes of one record only the last is written.
//!
//! redb was chosen over SQLite and fjall, because waiting for the disk is what a record costs in all
//! three, and redb is one file, without C and without threads of its own.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use self::file::{Changes, open_or_set_aside};
use self::writer::Writer;
use super::{Store, StoreError};

pub use self::file::Records;

mod file;
mod writer;

/// Maximum number of records that wait for the disk.
const MAX_WAITING: usize = 64 * 1024;

/// Store in one file. Dropping it ends its thread, once that has written what waits.
#[derive(Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// Changes that the writer has not taken yet.
#[derive(Debug, Default)]
struct Waiting {
    changes: Changes,
    /// Those who want to know how it ended.
    told: Vec<oneshot::Sender<Result<(), StoreError>>>,
    /// Keys of all records in the file, and of those that wait. So what waits to be removed is
    /// never more than was saved.
    known: HashSet<Arc<str>>,
    has_ended: bool,
}

impl EmbeddedStore {
    /// Opens the store, and reads its records. A file that cannot be read is set aside, so that the
    /// gateway can start without it. Blocks.
    ///
    /// # Errors
    /// If there can be no such file, because the folder cannot be written.
    pub fn open(file: &Path) -> io::Result<(Self, Records)> {
        let (database, records) = open_or_set_aside(file)?;
        let shared = Arc::<Shared>::default();
        shared.lock().known = records.iter().map(|(key, _)| key.as_str().into()).collect();
        let writer = Writer::new(Arc::clone(&shared), file, database);
        thread::Builder::new()
            .name("streams".to_owned())
            .spawn(move || writer.run())?;
        Ok((Self { shared }, records))
    }
}

impl Store for EmbeddedStore {
    fn save(&self, key: &str, record: Vec<u8>) -> BoxFuture<'static, Result<(), StoreError>> {
        let mut waiting = self.shared.lock();
        if waiting.has_ended {
            return std::future::ready(Err(StoreError::Ended)).boxed();
        }
        if waiting.changes.len() >= MAX_WAITING && !waiting.changes.contains_key(key) {
            return std::future::ready(Err(StoreError::Busy)).boxed();
        }
        let key: Arc<str> = key.into();
        waiting.known.insert(Arc::clone(&key));
        waiting.changes.insert(key, Some(record));
        let told = waiting.tell();
        drop(waiting);
        self.shared.changed.notify_one();
        async move { told.await.unwrap_or(Err(StoreError::Ended)) }.boxed()
    }

    fn forget(&self, key: &str) {
        let mut waiting = self.shared.lock();
        let Some(key) = waiting.known.take(key) else {
            return;
        };
        waiting.changes.insert(key, None);
        drop(waiting);
        self.shared.changed.notify_one();
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let mut waiting = self.shared.lock();
        if waiting.has_ended {
            return std::future::ready(()).boxed();
        }
        waiting.has_ended = true;
        let told = waiting.tell();
        drop(waiting);
        self.shared.changed.notify_one();
        async move { drop(told.await) }.boxed()
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.shared.lock().has_ended = true;
        self.shared.changed.notify_one();
    }
}

impl Waiting {
    fn tell(&mut self) -> oneshot::Receiver<Result<(), StoreError>> {
        let (tell, told) = oneshot::channel();
        self.told.push(tell);
        told
    }

    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.told.is_empty()
    }
}

impl Shared {
    // A map and a list keep their invariants at every step, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
