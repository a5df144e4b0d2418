//! One walk through a folder of recordings, and the deletion of what is over its bounds.

use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use walkdir::{DirEntry, WalkDir};

use super::Bounds;
use crate::wav::live;
use crate::wav::name::is_recording;
use crate::wav::track::remove_folders;

/// Folders within folders that are looked at: more than a layout can have.
const MAX_DEPTH: usize = 32;
/// Recordings that one walk remembers, so that its memory is bounded. Where there are more to
/// delete, it walks again.
const REMEMBERED: usize = 10_000;

/// What became of a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Recordings that were deleted.
    pub(super) files: u64,
    /// Bytes that these had.
    pub(super) bytes: u64,
    /// Files and folders that could not be looked at or deleted.
    pub(super) failures: u64,
    /// Recordings that are left, live ones included.
    pub(super) kept_files: u64,
    /// Bytes that these have.
    pub(super) kept_bytes: u64,
    /// Why the first of the failures failed.
    pub(super) first_failure: Option<String>,
}

impl Swept {
    fn failed(&mut self, why: String) {
        self.failures += 1;
        self.first_failure.get_or_insert(why);
    }
}

/// A finished recording. The oldest is the least.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finished {
    /// When audio was last added to it.
    written: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// Deletes finished recordings below `folder`, the oldest first, until none is over the bounds.
/// Blocks.
///
/// Links are neither followed nor deleted, and what is not named like a recording stays.
pub(super) fn sweep(folder: &Path, bounds: &Bounds, now: SystemTime) -> Swept {
    sweep_by(REMEMBERED, folder, bounds, now)
}

fn sweep_by(at_once: usize, folder: &Path, bounds: &Bounds, now: SystemTime) -> Swept {
    let mut swept = Swept::default();
    loop {
        let before = swept.files;
        let oldest = walk(at_once, folder, &mut swept);
        let is_part = oldest.len() == at_once;
        delete(oldest, folder, bounds, now, &mut swept);
        // Where nothing could be deleted, another walk would find the same.
        if !is_part || swept.files == before {
            return swept;
        }
    }
}

/// Counts what is there, and finds the oldest finished recordings, the oldest first.
fn walk(at_once: usize, folder: &Path, swept: &mut Swept) -> Vec<Finished> {
    (swept.kept_files, swept.kept_bytes) = (0, 0);
    // The newest is on top, and goes when there are too many.
    let mut oldest = BinaryHeap::new();
    for entry in WalkDir::new(folder).max_depth(MAX_DEPTH) {
        let recording = match entry.map_err(Into::into).and_then(recording) {
            Ok(Some(recording)) => recording,
            Ok(None) => continue,
            // It has vanished meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                swept.failed(error.to_string());
                continue;
            }
        };
        swept.kept_files += 1;
        swept.kept_bytes += recording.bytes;
        let name = recording.path.file_name().unwrap_or_default();
        if !live::is_live(name) {
            oldest.push(recording);
        }
        if oldest.len() > at_once {
            oldest.pop();
        }
    }
    oldest.into_sorted_vec()
}

fn recording(entry: DirEntry) -> io::Result<Option<Finished>> {
    let is_named_so = entry.file_name().to_str().is_some_and(is_recording);
    if !is_named_so || !entry.file_type().is_file() {
        return Ok(None);
    }
    let metadata = entry.metadata()?;
    Ok(Some(Finished {
        written: metadata.modified()?,
        bytes: metadata.len(),
        path: entry.into_path(),
    }))
}

fn delete(
    oldest: Vec<Finished>,
    folder: &Path,
    bounds: &Bounds,
    now: SystemTime,
    swept: &mut Swept,
) {
    for Finished {
        written,
        path,
        bytes,
    } in oldest
    {
        let age = now.duration_since(written).unwrap_or_default();
        let is_too_old = bounds.age.is_some_and(|limit| age > limit);
        let is_too_much = bounds.total.is_some_and(|limit| swept.kept_bytes > limit);
        if !is_too_old && !is_too_much {
            return;
        }
        match fs::remove_file(&path) {
            Ok(()) => {
                swept.files += 1;
                swept.bytes += bytes;
                remove_folders(folder, &path);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                swept.failed(format!("{}: {error}", path.display()));
                if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
                    return;
                }
                continue;
            }
        }
        swept.kept_files -= 1;
        swept.kept_bytes -= bytes;
    }
}

#[cfg(test)]
mod tests;
