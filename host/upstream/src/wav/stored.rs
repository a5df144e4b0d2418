//! Recordings in a folder, for operators who list, fetch and delete them.
//!
//! Links are not followed, and nothing but recordings is touched.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use walkdir::WalkDir;

use super::folders::{find, remove_folders};
use super::live;
use super::name::is_recording;

/// Maximum depth of nested folders. It exceeds that of any layout.
const MAX_DEPTH: usize = 32;

/// Recording in a folder. The newest is the largest in the order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredRecording {
    /// Time when audio was last added to it.
    pub written: SystemTime,
    /// Path below the folder.
    pub path: PathBuf,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Whether it is being written, or held for a client that may come back.
    pub is_live: bool,
}

/// Why a recording is not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// There is no recording of this path.
    #[error("there is no recording of this path")]
    NotFound,
    /// It is being written.
    #[error("the recording is being written: close its session first")]
    Live,
    /// The disk failed.
    #[error("the recording could not be deleted: {0}")]
    Disk(#[from] io::Error),
}

/// Number of recordings below `folder` that are wanted by their path, and the newest of them, the
/// newest first. Blocks.
///
/// # Errors
/// If the folder cannot be read. What vanishes meanwhile, or cannot be read, is left out.
pub fn newest(
    folder: &Path,
    most: usize,
    is_wanted: impl Fn(&str) -> bool,
) -> io::Result<(u64, Vec<StoredRecording>)> {
    fs::read_dir(folder)?;
    let mut found = 0;
    let mut newest = BinaryHeap::new();
    let entries = WalkDir::new(folder).max_depth(MAX_DEPTH).into_iter();
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_str();
        if !name.is_some_and(is_recording) || !entry.file_type().is_file() {
            continue;
        }
        let Ok(path) = entry.path().strip_prefix(folder) else {
            continue;
        };
        if !path.to_str().is_some_and(&is_wanted) {
            continue;
        }
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        found += 1;
        newest.push(Reverse(StoredRecording {
            written: metadata.modified()?,
            path: path.to_owned(),
            bytes: metadata.len(),
            is_live: live::is_live(entry.file_name()),
        }));
        if newest.len() > most {
            newest.pop();
        }
    }
    let newest = newest.into_sorted_vec().into_iter();
    Ok((found, newest.map(|Reverse(recording)| recording).collect()))
}

/// Opens a recording, by its path below `folder`. `None` if there is none. Blocks.
///
/// # Errors
/// If the disk fails.
pub fn open(folder: &Path, path: &str) -> io::Result<Option<File>> {
    match find(folder, Path::new(path))? {
        Some(file) => File::open(file).map(Some),
        None => Ok(None),
    }
}

/// Deletes a recording, by its path below `folder`, and folders that are empty without it. Blocks.
///
/// # Errors
/// See [`DeleteError`].
pub fn delete(folder: &Path, path: &str) -> Result<(), DeleteError> {
    let file = find(folder, Path::new(path))?.ok_or(DeleteError::NotFound)?;
    if live::is_live(file.file_name().unwrap_or_default()) {
        return Err(DeleteError::Live);
    }
    fs::remove_file(&file)?;
    remove_folders(folder, &file);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ONE: &str = "acme/m1/2026-11-22T20-57-33Z-mic-9f1e6a1b7c5f.wav";
    const TWO: &str = "acme/m2/2026-11-22T20-57-34Z-sys-9f1e6a1b7c60.wav";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (age, path) in [(20, ONE), (10, TWO)] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, path.to_str().unwrap()).unwrap();
            let written = SystemTime::now() - Duration::from_secs(age);
            File::open(&path).unwrap().set_modified(written).unwrap();
        }
        fs::write(folder.path().join("acme/notes.txt"), "not a recording").unwrap();
        folder
    }

    fn paths(found: &[StoredRecording]) -> Vec<&str> {
        found
            .iter()
            .map(|recording| recording.path.to_str().unwrap())
            .collect()
    }

    #[test]
    fn the_newest_come_first_and_all_are_counted() {
        let folder = folder();
        let (count, found) = newest(folder.path(), 10, |_| true).unwrap();
        assert_eq!((count, paths(&found)), (2, vec![TWO, ONE]));
        let (count, found) = newest(folder.path(), 1, |_| true).unwrap();
        assert_eq!((count, paths(&found)), (2, vec![TWO]));
        let (count, found) = newest(folder.path(), 10, |path| path.contains("m1")).unwrap();
        assert_eq!((count, paths(&found)), (1, vec![ONE]));
        assert!(newest(&folder.path().join("gone"), 1, |_| true).is_err());
    }

    #[test]
    fn no_path_and_no_link_leads_to_anything_but_a_recording_in_the_folder() {
        let folder = folder();
        let outside = tempfile::tempdir().unwrap();
        let name = "2026-11-22T20-57-33Z-mic-9f1e6a1b7c5f.wav";
        fs::write(outside.path().join(name), "secret").unwrap();
        let link = |to: PathBuf, at: &str| {
            std::os::unix::fs::symlink(to, folder.path().join(at)).unwrap();
        };
        link(outside.path().to_owned(), "out");
        let linked = format!("acme/m2/{name}");
        link(outside.path().join(name), &linked);
        assert!(open(folder.path(), ONE).unwrap().is_some());
        let absolute = outside.path().join(name);
        for path in [
            "",
            "acme",
            "acme/notes.txt",
            "acme/m1/../../out",
            &format!("../{name}"),
            &format!("acme/../acme/m1/{name}"),
            &format!("out/{name}"),
            &linked,
            absolute.to_str().unwrap(),
            &format!("acme/m1/{name}\0"),
        ] {
            assert!(!matches!(open(folder.path(), path), Ok(Some(_))), "{path}");
            assert!(delete(folder.path(), path).is_err(), "{path}");
        }
        assert!(absolute.exists());
    }

    #[test]
    fn a_deleted_recording_is_gone_with_its_empty_folder_and_a_live_one_stays() {
        let folder = folder();
        delete(folder.path(), ONE).unwrap();
        assert!(!folder.path().join("acme/m1").exists());
        assert!(matches!(
            delete(folder.path(), ONE),
            Err(DeleteError::NotFound)
        ));
        let live = live::LiveRecording::of(&folder.path().join(TWO));
        assert!(matches!(delete(folder.path(), TWO), Err(DeleteError::Live)));
        drop(live);
        delete(folder.path(), TWO).unwrap();
    }
}
