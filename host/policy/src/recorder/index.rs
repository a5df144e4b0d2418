//! Writing of the index of a record ([`crate::record::index`]). Where that is not possible the
//! record goes on without, and is searched line by line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::record::index::{self, Entry};

/// Entries of a run. It is sorted in memory, and searched as a whole.
const RUN: usize = 32 * 1024;

/// Entries of a record's lines that are not in its index yet.
#[derive(Default)]
pub(super) struct PendingIndex {
    entries: Vec<Entry>,
    /// Place in the record where they begin.
    from: u64,
}

impl PendingIndex {
    /// Begins anew behind what is in a record that is opened.
    pub(super) fn begin(&mut self, from: u64) {
        self.entries.clear();
        self.from = from;
    }

    /// Adds entries of lines that were written. `end` is the end of the record with them.
    pub(super) fn add(
        &mut self,
        record: &Path,
        file: &File,
        entries: impl Iterator<Item = Entry>,
        end: u64,
    ) {
        self.entries.extend(entries);
        if self.entries.len() >= RUN {
            self.write(record, file, end);
        }
    }

    /// Writes what is pending of a record of this length.
    pub(super) fn write(&mut self, record: &Path, file: &File, end: u64) {
        let entries = std::mem::take(&mut self.entries);
        let part = self.from..end;
        self.from = end;
        if part.is_empty() {
            return;
        }
        if let Err(error) = append(record, file, part, entries) {
            tracing::debug!(%error, "the index of the decision record cannot be written");
        }
    }
}

fn append(
    record: &Path,
    file: &File,
    part: std::ops::Range<u64>,
    entries: Vec<Entry>,
) -> io::Result<()> {
    // A record is read by its owner only, and so is its index.
    let Some(identity) = index::identity(file)? else {
        return Ok(());
    };
    let mut options = OpenOptions::new();
    let options = options.create(true).append(true).mode(0o600);
    let mut index = options.open(index::path(record))?;
    let before = index.metadata()?.len();
    let written = index.write_all(&index::run(identity, part, entries));
    if written.is_err() {
        // Half a run would hide those behind it.
        drop(index.set_len(before));
    }
    written
}
