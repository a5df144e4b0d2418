//! Index of a decision record: where its lines about a session or a user are.
//!
//! The file `NAME.index` beside the record `NAME` has runs. Each run is of a part of the record, and
//! lists the keys in it with the places of their lines, sorted by key:
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | [`MAGIC`] |
//! | 8 | digest of all that follows in the run |
//! | 8 | digest of the record's first line, by which an index knows its record |
//! | 8, 8 | beginning and end of the part, in bytes |
//! | 8 | number of entries |
//! | 16 each | key and place of a line |
//!
//! All numbers are little-endian. The index is a help and no more: a part of the record that no whole
//! run covers is searched line by line, and a line is read before it is believed.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Beginning of each run.
const MAGIC: u64 = u64::from_le_bytes(*b"sluidx02");
/// Bytes of a run before its entries.
const HEAD: usize = 48;
/// Bytes of the head that its digest does not cover: the magic and the digest itself.
const UNCHECKED: usize = 16;
/// Bytes of an entry.
const ENTRY: usize = 16;
/// Maximum number of entries of a run. A head that names more is none.
const MAX_ENTRIES: u64 = 1 << 20;
/// Maximum length of a first line by which a record is known, in bytes.
const MAX_FIRST_LINE: u64 = 1 << 20;

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

/// Run that was written to its end.
pub(crate) struct Run {
    /// Identity of the record that it is of.
    pub(crate) identity: u64,
    /// Part of the record that it covers.
    pub(crate) part: Range<u64>,
    /// Entries as they are in the file. To parse each would take longer than to look for one.
    entries: Vec<u8>,
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

/// Digest of a record's first line; `None` while the line has no end, and if it is too long.
pub(crate) fn identity(record: &File) -> io::Result<Option<u64>> {
    let mut digest = Sha256::new();
    let mut chunk = [0; 4096];
    let mut at = 0;
    while at < MAX_FIRST_LINE {
        let read = record.read_at(&mut chunk, at)?;
        let read = &chunk[..read];
        if let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            digest.update(&read[..end]);
            return Ok(Some(first(&digest.finalize())));
        }
        if read.is_empty() {
            break;
        }
        digest.update(read);
        at += read.len() as u64;
    }
    Ok(None)
}

/// Bytes of a run of this part of a record.
pub(crate) fn run(identity: u64, part: Range<u64>, mut entries: Vec<Entry>) -> Vec<u8> {
    entries.sort_unstable();
    let head = [identity, part.start, part.end, entries.len() as u64];
    let entries = entries.into_iter().flat_map(|(key, place)| [key, place]);
    let numbers = head.into_iter().chain(entries);
    let checked: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
    let digest = first(&Sha256::digest(&checked));
    [&MAGIC.to_le_bytes(), &digest.to_le_bytes(), &*checked].concat()
}

/// Looks for lines about a session or a user. Blocks.
///
/// # Errors
/// If the record cannot be read.
pub fn find(record: &Path, whom: &str) -> io::Result<Found> {
    let file = File::open(record)?;
    let length = file.metadata()?.len();
    let mut found = Found::default();
    let mut known = 0;
    // Without its index a record is searched line by line.
    if let (Ok(index), Some(identity)) = (File::open(path(record)), identity(&file)?) {
        let key = key(whom);
        let mut index = BufReader::new(index);
        let runs = std::iter::from_fn(|| Run::read(&mut index));
        let of_record = |run: &Run| run.identity == identity && run.part.end <= length;
        let mut runs: Vec<_> = runs
            .filter(of_record)
            .map(|run| (run.part.clone(), run.places(key)))
            .collect();
        runs.sort_unstable_by_key(|(part, _)| part.start);
        for (part, places) in runs {
            if part.start > known {
                found.unknown.push(known..part.start);
            }
            known = known.max(part.end);
            found.places.extend(places);
        }
    }
    if known < length {
        found.unknown.push(known..length);
    }
    found.places.sort_unstable();
    found.places.dedup();
    Ok(found)
}

impl Run {
    /// The next run of an index; `None` at its end, and if what is there is no whole run.
    pub(crate) fn read(index: &mut impl Read) -> Option<Self> {
        let mut head = [0; HEAD];
        index.read_exact(&mut head).ok()?;
        let mut numbers = head.chunks_exact(8).map(first);
        let [magic, digest, identity, start, end, count] =
            std::array::from_fn(|_| numbers.next().unwrap_or_default());
        if magic != MAGIC || count > MAX_ENTRIES {
            return None;
        }
        let mut entries = vec![0; usize::try_from(count).ok()? * ENTRY];
        index.read_exact(&mut entries).ok()?;
        let checked = Sha256::new().chain_update(&head[UNCHECKED..]);
        if first(&checked.chain_update(&entries).finalize()) != digest {
            return None;
        }
        Some(Self {
            identity,
            part: start..end,
            entries,
        })
    }

    /// Number of bytes that it takes in the index.
    pub(crate) fn size(&self) -> u64 {
        (HEAD + self.entries.len()) as u64
    }

    /// Places of the lines with a key.
    fn places(&self, key: u64) -> Vec<u64> {
        let (entries, _) = self.entries.as_chunks::<ENTRY>();
        let start = entries.partition_point(|entry| first(entry) < key);
        let with_key = entries[start..].iter();
        let with_key = with_key.take_while(|entry| first(*entry) == key);
        with_key.map(|entry| first(&entry[8..])).collect()
    }
}

/// The number in the first eight bytes.
fn first(bytes: &[u8]) -> u64 {
    let first = bytes.first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests;
