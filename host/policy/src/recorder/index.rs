//! Writing of the index of a record ([`crate::record::index`]). Where that is not possible the
//! record goes on without, and is searched line by line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::record::index::{self, Entry, Run};

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
    pub(super) fn begin(&mut self, record: &Path, file: &File, from: u64) {
        self.entries.clear();
        self.from = from;
        if let Err(error) = cut(record, file, from) {
            tracing::debug!(%error, "the index of the decision record cannot be cut, and is removed");
            drop(std::fs::remove_file(index::path(record)));
        }
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
    // Somebody else has cut the record or written to it: the places are wrong.
    if file.metadata()?.len() != part.end {
        return Ok(());
    }
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

/// Cuts the index behind its last run that is whole, and of a part that is in a record of this size.
/// A crash leaves half a run, which would hide those behind it. A power cut may leave a run of
/// decisions that are lost, which must not be taken for one of those that are written in their place.
fn cut(record: &Path, file: &File, size: u64) -> io::Result<()> {
    let path = index::path(record);
    let index = match OpenOptions::new().read(true).write(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        index => index?,
    };
    let mut whole = 0;
    if let Some(identity) = index::identity(file)? {
        let mut runs = BufReader::new(&index);
        let runs = std::iter::from_fn(|| Run::read(&mut runs));
        let is_of_record = |run: &Run| run.identity == identity && run.part.end <= size;
        whole = runs.take_while(is_of_record).map(|run| run.size()).sum();
    }
    match whole {
        // It is of a record that somebody else has put aside.
        0 => std::fs::remove_file(path),
        whole => index.set_len(whole),
    }
}

#[cfg(test)]
mod tests;
