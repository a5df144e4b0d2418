//! File of the store.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

/// Table of the records.
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("records");
/// Memory for parts of the file, in bytes. Records are read only at the start.
const CACHE: usize = 1024 * 1024;
/// Number of further attempts to open a file that another process has, and the time between two.
const ATTEMPTS: u32 = 30;
const AGAIN: Duration = Duration::from_millis(100);
/// Ending of a file that could not be read and was set aside.
pub(super) const BROKEN: &str = "broken";

/// Records by key, as they were in the file.
pub type Records = Vec<(String, Vec<u8>)>;

/// The last change of each record; `None` removes it.
pub(super) type Changes = HashMap<Arc<str>, Option<Vec<u8>>>;

/// Opens the file, or creates it, and reads its records. A file that cannot be read is set aside.
///
/// # Errors
/// If there can be no such file.
pub(super) fn open_or_set_aside(file: &Path) -> io::Result<(Database, Records)> {
    let mut opened = read(file);
    for _ in 0..ATTEMPTS {
        // A process that is about to end may still have it.
        if !matches!(opened, Err(Unreadable::InUse)) {
            break;
        }
        thread::sleep(AGAIN);
        opened = read(file);
    }
    match opened {
        Ok(opened) => Ok(opened),
        Err(Unreadable::Broken(why)) => {
            let aside = file.with_extension(BROKEN);
            fs::rename(file, &aside)?;
            tracing::error!(
                file = %file.display(), set_aside_as = %aside.display(), error = why,
                "the streams of the earlier process cannot be read, and cannot be resumed"
            );
            read(file).map_err(Unreadable::into_io)
        }
        Err(unreadable) => Err(unreadable.into_io()),
    }
}

/// Makes the changes in one transaction, and waits for the disk.
pub(super) fn commit(database: &Database, changes: &Changes) -> Result<(), redb::Error> {
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
pub(super) fn open(file: &Path) -> Result<Database, redb::Error> {
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
            commit(&database, &Changes::new())?;
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
