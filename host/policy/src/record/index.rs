//! Index of a decision record: where its lines about a session or a user are.
//!
//! The file `NAME.index` beside the record `NAME` has runs. Each run is of a part of the record, and
//! lists the keys in it with the places of their lines, sorted by key:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | [`MAGIC`] |
//! | 8 | digest of the record's beginning, by which an index knows its record |
//! | 8, 8 | beginning and end of the part, in bytes |
//! | 8 | number of entries |
//! | 16 each | key and place of a line |
//!
//! All numbers are little-endian. The index is a help and no more: a part of the record that no run
//! covers is searched line by line, and a line is read before it is believed.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Beginning of each run.
const MAGIC: u64 = u64::from_le_bytes(*b"sluidx01");
/// Bytes of a run before its entries.
const HEAD: usize = 40;
/// Bytes of an entry.
const ENTRY: usize = 16;
/// Bytes of the record by which an index knows it. A line is longer.
const BEGINNING: usize = 128;

/// Key of a session or a user, and the place of a line about them.
pub(crate) type Entry = (u64, u64);

/// Lines of a record about somebody.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Places of lines that may be about them, in their order.
    pub places: Vec<u64>,
    /// Parts of the record that the index does not know.
    pub unknown: Vec<Range<u64>>,
}

/// Part of a record that a run covers.
struct Run {
    part: Range<u64>,
    /// Place of its entries in the index.
    entries: u64,
    count: u64,
}

/// The index of a record.
#[must_use]
pub fn path(record: &Path) -> PathBuf {
    let mut name = record.as_os_str().to_owned();
    name.push(".index");
    name.into()
}

/// Key of a session id or a user.
#[must_use]
pub(crate) fn key(whom: &str) -> u64 {
    first(&Sha256::digest(whom))
}

/// Keys of a line: its session, and of a refusal the users whom a policy had verified by then.
pub(crate) fn keys(line: &Value) -> Vec<u64> {
    let mut keys: Vec<u64> = line["session"].as_str().map(key).into_iter().collect();
    let is_refusal = matches!(line["effect"].as_str(), Some("refused" | "failed-closed"));
    if is_refusal {
        let attributes = line["input"]["attributes"].as_array();
        let attributes = attributes.into_iter().flatten().filter_map(|pair| {
            let is_user = pair[0].as_str()?.ends_with(".user_id");
            pair[1].as_str().filter(|_| is_user)
        });
        let calls = line["calls"].as_array().into_iter().flatten();
        let claimed = calls.flat_map(|call| {
            let claims = &call["answer"]["ok"];
            ["user_id", "sub"].map(|claim| claims[claim].as_str())
        });
        keys.extend(attributes.chain(claimed.flatten()).map(key));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Digest of a record's beginning; `None` while it is too short to be known.
pub(crate) fn identity(record: &File) -> io::Result<Option<u64>> {
    let mut beginning = [0; BEGINNING];
    match record.read_exact_at(&mut beginning, 0) {
        Ok(()) => Ok(Some(first(&Sha256::digest(beginning)))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// A run of this part of a record.
pub(crate) fn run(identity: u64, part: Range<u64>, mut entries: Vec<Entry>) -> Vec<u8> {
    entries.sort_unstable();
    let head = [MAGIC, identity, part.start, part.end, entries.len() as u64];
    let entries = entries.into_iter().flat_map(|(key, place)| [key, place]);
    let numbers = head.into_iter().chain(entries);
    numbers.flat_map(u64::to_le_bytes).collect()
}

/// Looks for lines about a session or a user. Blocks.
///
/// # Errors
/// If the record or its index cannot be read.
pub fn find(record: &Path, whom: &str) -> io::Result<Found> {
    let file = File::open(record)?;
    let length = file.metadata()?.len();
    let index = match File::open(path(record)) {
        Ok(index) => Some(index),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut found = Found::default();
    let mut known = 0;
    if let (Some(index), Some(identity)) = (&index, identity(&file)?) {
        let key = key(whom);
        let mut runs = runs(index, identity)?;
        runs.retain(|run| run.part.end <= length);
        runs.sort_unstable_by_key(|run| run.part.start);
        for run in runs {
            if run.part.start > known {
                found.unknown.push(known..run.part.start);
            }
            known = known.max(run.part.end);
            run.find(index, key, &mut found.places)?;
        }
    }
    if known < length {
        found.unknown.push(known..length);
    }
    found.places.sort_unstable();
    found.places.dedup();
    Ok(found)
}

/// Runs of an index that are about the record of this identity. One that was not written to its
/// end is left out.
fn runs(index: &File, identity: u64) -> io::Result<Vec<Run>> {
    let length = index.metadata()?.len();
    let mut runs = Vec::new();
    let mut at = 0;
    while at + HEAD as u64 <= length {
        let mut head = [0; HEAD];
        index.read_exact_at(&mut head, at)?;
        let mut numbers = head.as_slice();
        let mut next = || {
            let mut number = [0; 8];
            numbers
                .read_exact(&mut number)
                .map(|()| u64::from_le_bytes(number))
        };
        let (magic, of, start, end, count) = (next()?, next()?, next()?, next()?, next()?);
        let entries = at + HEAD as u64;
        let behind = count
            .checked_mul(ENTRY as u64)
            .and_then(|bytes| entries.checked_add(bytes));
        let Some(behind) = behind.filter(|behind| magic == MAGIC && *behind <= length) else {
            break;
        };
        if of == identity && start <= end {
            runs.push(Run {
                part: start..end,
                entries,
                count,
            });
        }
        at = behind;
    }
    Ok(runs)
}

impl Run {
    /// Adds the places of a key.
    fn find(&self, index: &File, key: u64, places: &mut Vec<u64>) -> io::Result<()> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(index, middle)?.0 < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        for at in low..self.count {
            let (of, place) = self.entry(index, at)?;
            if of != key {
                break;
            }
            if self.part.contains(&place) {
                places.push(place);
            }
        }
        Ok(())
    }

    fn entry(&self, index: &File, at: u64) -> io::Result<Entry> {
        let mut bytes = [0; ENTRY];
        index.read_exact_at(&mut bytes, self.entries + at * ENTRY as u64)?;
        let (key, place) = bytes.split_at(8);
        Ok((first(key), first(place)))
    }
}

/// The number in the first eight bytes.
fn first(bytes: &[u8]) -> u64 {
    let first = bytes.first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests;
