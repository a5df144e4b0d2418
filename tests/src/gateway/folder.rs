//! Files in a gateway's folder.

use std::path::{Path, PathBuf};

use super::Gateway;

impl Gateway {
    /// Replaces a file in its folder atomically, as a deployment does.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        let aside = self.folder.path().join(format!("{name}.new"));
        std::fs::write(&aside, content).expect("a file");
        std::fs::rename(aside, self.folder.path().join(name)).expect("a file");
    }

    /// Folder of its configuration and data, for this test alone.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// All recordings so far, finished or not.
    pub fn recordings(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.data(), &mut found);
        found.sort();
        found
    }

    /// The only recording.
    ///
    /// # Panics
    /// If there is none or more than one.
    pub fn recording(&self) -> PathBuf {
        let mut found = self.recordings();
        assert_eq!(found.len(), 1, "one recording was expected: {found:?}");
        found.swap_remove(0)
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "wav") {
            found.push(path);
        }
    }
}
