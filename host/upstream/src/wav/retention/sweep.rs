//! One sweep of a folder of recordings.

use std::collections::BinaryHeap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use walkdir::{DirEntry, WalkDir};

use super::RetentionLimits;
use crate::wav::folders::remove_folders;
use crate::wav::live;
use crate::wav::name::is_recording;

/// Maximum depth of nested folders. It exceeds that of any layout.
const MAX_DEPTH: usize = 32;
/// Maximum number of recordings that one walk remembers, which bounds its memory. If more must be
/// deleted, another walk follows.
const REMEMBERED: usize = 10_000;

/// Result of a sweep.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Number of deleted recordings.
    pub(super) files: u64,
    /// Bytes of the deleted recordings.
    pub(super) bytes: u64,
    /// Number of files and folders that could not be read or deleted.
    pub(super) failures: u64,
    /// Number of recordings that are left, live ones included.
    pub(super) kept_files: u64,
    /// Bytes of the recordings that are left.
    pub(super) kept_bytes: u64,
    /// Error of the first failure.
    pub(super) first_failure: Option<String>,
}

impl Swept {
    fn failed(&mut self, why: String) {
        self.failures += 1;
        self.first_failure.get_or_insert(why);
    }
}

/// Finished recording. The oldest is the smallest in the order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FinishedRecording {
    /// Time when audio was last added to it.
    written: SystemTime,
    path: PathBuf,
    bytes: u64,
}

/// Deletes finished recordings below `folder`, the oldest first, until none exceeds the limits.
/// Blocks.
///
/// Links are neither followed nor deleted. Files with other names than recordings stay.
pub(super) fn sweep(folder: &Path, bounds: &RetentionLimits, now: SystemTime) -> Swept {
    sweep_by(REMEMBERED, folder, bounds, now)
}

fn sweep_by(at_once: usize, folder: &Path, bounds: &RetentionLimits, now: SystemTime) -> Swept {
    let mut swept = Swept::default();
    loop {
        let before = swept.files;
        let oldest = walk(at_once, folder, &mut swept);
        let is_part = oldest.len() == at_once;
        delete(oldest, folder, bounds, now, &mut swept);
        // If nothing could be deleted, another walk would find the same files.
        if !is_part || swept.files == before {
            return swept;
        }
    }
}

/// Counts the recordings, and returns the oldest finished ones, the oldest first.
fn walk(at_once: usize, folder: &Path, swept: &mut Swept) -> Vec<FinishedRecording> {
    (swept.kept_files, swept.kept_bytes) = (0, 0);
    // The newest is on top, and is removed when there are too many.
    let mut oldest = BinaryHeap::new();
    for entry in WalkDir::new(folder).max_depth(MAX_DEPTH) {
        let recording = match entry.map_err(Into::into).and_then(recording) {
            Ok(Some(recording)) => recording,
            Ok(None) => continue,
            // The folder has vanished in the meantime.
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

fn recording(entry: DirEntry) -> io::Result<Option<FinishedRecording>> {
    let is_named_so = entry.file_name().to_str().is_some_and(is_recording);
    if !is_named_so || !entry.file_type().is_file() {
        return Ok(None);
    }
    let metadata = entry.metadata()?;
    Ok(Some(FinishedRecording {
        written: metadata.modified()?,
        bytes: metadata.len(),
        path: entry.into_path(),
    }))
}

fn delete(
    oldest: Vec<FinishedRecording>,
    folder: &Path,
    bounds: &RetentionLimits,
    now: SystemTime,
    swept: &mut Swept,
) {
    for FinishedRecording {
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
