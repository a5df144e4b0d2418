//! Store in one file on this machine's disk (redb).
//!
//! One thread writes. It takes everything that waits as one transaction, so that a thousand records
//! at once cost one wait for the disk. Of several changes of one record only the last is written.
//!
//! redb was chosen over SQLite and fjall, because waiting for the disk is what a record costs in all
//! three, and redb is one file, without C and without threads of its own.

use std::collections::{HashMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tokio::sync::oneshot;

use super::{Store, StoreError};
use base::metrics;

/// Table of the records.
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// Memory for parts of the file, in bytes. Records are read only at the start.
const CACHE: usize = 1024 * 1024;
/// Maximum number of records that wait for the disk.
const MAX_WAITING: usize = 64 * 1024;
/// Pause before removals are tried again after the disk has failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Number of further attempts to open a file that another process has, and the time between two.
const ATTEMPTS: u32 = 30;
const AGAIN: Duration = Duration::from_millis(100);
/// Ending of a file that could not be read and was set aside.
const BROKEN: &str = "broken";

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
    /// The last change of each record; `None` removes it.
    changes: HashMap<Arc<str>, Option<Vec<u8>>>,
    /// Those who want to know how it ended.
    told: Vec<oneshot::Sender<Result<(), StoreError>>>,
    /// Keys of all records in the file, and of those that wait. So what waits to be removed is
    /// never more than was saved.
    known: HashSet<Arc<str>>,
    has_ended: bool,
}

/// Records by key, as they were in the file.
pub type Records = Vec<(String, Vec<u8>)>;

impl EmbeddedStore {
    /// Opens the store, and reads its records. A file that cannot be read is set aside, so that the
    /// gateway can start without it. Blocks.
    ///
    /// # Errors
    /// If there can be no such file, because the folder cannot be written.
    pub fn open(file: &Path) -> io::Result<(Self, Records)> {
        let mut opened = read(file);
        for _ in 0..ATTEMPTS {
            // A process that is about to end may still have it.
            if !matches!(opened, Err(Unreadable::InUse)) {
                break;
            }
            thread::sleep(AGAIN);
            opened = read(file);
        }
        let (database, records) = match opened {
            Ok(opened) => opened,
            Err(Unreadable::InUse) => return Err(io::ErrorKind::ResourceBusy.into()),
            Err(Unreadable::Disk(error)) => return Err(error),
            Err(Unreadable::Broken(why)) => {
                let aside = file.with_extension(BROKEN);
                fs::rename(file, &aside)?;
                tracing::error!(
                    file = %file.display(), set_aside_as = %aside.display(), error = why,
                    "the streams of the earlier process cannot be read, and cannot be resumed"
                );
                read(file).map_err(Unreadable::into_io)?
            }
        };
        let shared = Arc::<Shared>::default();
        shared.lock().known = records.iter().map(|(key, _)| key.as_str().into()).collect();
        let writer = Writer {
            shared: Arc::clone(&shared),
            file: file.to_owned(),
            database: Some(database),
            removals: HashSet::new(),
            disk: Disk::Works,
        };
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

/// The thread that writes.
struct Writer {
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
    fn run(mut self) {
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

    fn write(&mut self, changes: &HashMap<Arc<str>, Option<Vec<u8>>>) -> Result<(), StoreError> {
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

fn commit(
    database: &Database,
    changes: &HashMap<Arc<str>, Option<Vec<u8>>>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut table = transaction.open_table(RECORDS)?;
    for (key, change) in changes {
        match change {
            Some(record) => drop(table.insert(&**key, &**record)?),
            None => drop(table.remove(&**key)?),
        }
    }
    drop(table);
    // Waits for the disk, by default.
    Ok(transaction.commit()?)
}

/// Why a file was not read.
enum Unreadable {
    /// The disk refused.
    Disk(io::Error),
    /// Another process has it.
    InUse,
    /// It is no store, or a broken one.
    Broken(String),
}

impl Unreadable {
    fn into_io(self) -> io::Error {
        match self {
            Self::Disk(error) => error,
            Self::InUse => io::ErrorKind::ResourceBusy.into(),
            Self::Broken(why) => io::Error::other(why),
        }
    }
}

/// Opens the file, or creates it for its owner alone.
fn open(file: &Path) -> Result<Database, redb::Error> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    // The library would create one that others may read.
    drop(options.open(file)?);
    Ok(Database::builder().set_cache_size(CACHE).create(file)?)
}

/// Opens the file, or creates it, and reads all records.
fn read(file: &Path) -> Result<(Database, Records), Unreadable> {
    let path = file.to_owned();
    // In a thread of its own, because a library that reads a broken file may panic.
    let reading = thread::Builder::new()
        .spawn(move || -> Result<_, redb::Error> {
            let database = open(&path)?;
            // So that the table exists.
            commit(&database, &HashMap::new())?;
            let mut records = Records::new();
            let transaction = database.begin_read()?;
            for entry in transaction.open_table(RECORDS)?.iter()? {
                let (key, record) = entry?;
                records.push((key.value().to_owned(), record.value().to_vec()));
            }
            drop(transaction);
            Ok((database, records))
        })
        .map_err(Unreadable::Disk)?;
    match reading.join() {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(redb::Error::DatabaseAlreadyOpen)) => Err(Unreadable::InUse),
        Ok(Err(redb::Error::Io(error))) if error.kind() != io::ErrorKind::InvalidData => {
            Err(Unreadable::Disk(error))
        }
        Ok(Err(error)) => Err(Unreadable::Broken(error.to_string())),
        Err(_) => Err(Unreadable::Broken("reading it panicked".to_owned())),
    }
}

#[cfg(test)]
mod tests;
