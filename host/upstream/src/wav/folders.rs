//! Paths of recordings below their folder.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::name::is_recording;

/// Folders of a file below `root`, the innermost first.
pub(super) fn folders<'a>(
    root: &'a Path,
    path: &'a Path,
) -> impl DoubleEndedIterator<Item = &'a Path> {
    let folders = path.ancestors().skip(1);
    let folders: Vec<_> = folders.take_while(|folder| *folder != root).collect();
    folders.into_iter()
}

/// Removes the empty folders of a file below `root`. Blocks.
pub(super) fn remove_folders(root: &Path, path: &Path) {
    for folder in folders(root, path) {
        // Fails, as it should, while other recordings are in the folder.
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

/// The file of a recording. Neither the path nor a link leads out of the folder.
pub(super) fn find(folder: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let mut parts = path.components();
    let is_below = parts.all(|part| matches!(part, Component::Normal(_)));
    let name = path.file_name().and_then(|name| name.to_str());
    if !is_below || !name.is_some_and(is_recording) {
        return Ok(None);
    }
    let file = folder.join(path);
    let found = fs::symlink_metadata(&file).and_then(|metadata| {
        let is_there = fs::canonicalize(&file)? == fs::canonicalize(folder)?.join(path);
        Ok((metadata.is_file() && is_there).then_some(file))
    });
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found,
    }
}
