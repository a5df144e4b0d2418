//! The files that a configuration is made from, and whether they changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::blocking::LOADING;
use crate::config::Config;

/// The files, with what was in them when somebody looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    files: Arc<BTreeSet<PathBuf>>,
    /// `None` where looking at them failed, which is never the same.
    content: Option<[u8; 32]>,
}

impl Seen {
    /// The files of a configuration as they are now.
    pub async fn of(config: &Config) -> Self {
        Self::look(Arc::new(config.files.clone())).await
    }

    /// The same files as they are now.
    pub async fn again(&self) -> Self {
        Self::look(Arc::clone(&self.files)).await
    }

    /// Whether these are the files of that configuration.
    #[must_use]
    pub fn is_of(&self, config: &Config) -> bool {
        *self.files == config.files
    }

    /// The folders that they are in. A file is replaced more often than it is
    /// written to, and where a volume is swapped by a link it does not even
    /// have an event of its own.
    #[must_use]
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        let folder = |file: &PathBuf| match file.parent() {
            None => PathBuf::from("/"),
            Some(here) if here == Path::new("") => PathBuf::from("."),
            Some(folder) => folder.to_owned(),
        };
        self.files.iter().map(folder).collect()
    }

    /// Reads all of them, off the async threads.
    async fn look(files: Arc<BTreeSet<PathBuf>>) -> Self {
        let reading = Arc::clone(&files);
        let content = LOADING.run(move || content(&reading));
        Self {
            files,
            content: content.await.ok(),
        }
    }
}

fn content(files: &BTreeSet<PathBuf>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for file in files {
        hasher.update(file.as_os_str().as_encoded_bytes());
        let content = std::fs::File::open(file).and_then(|mut file| {
            let mut content = Sha256::new();
            std::io::copy(&mut file, &mut content)?;
            Ok(content.finalize())
        });
        match content {
            Ok(digest) => hasher.update(digest),
            Err(error) => hasher.update(error.kind().to_string()),
        }
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn look(file: &Path) -> Seen {
        Seen::look(Arc::new([file.to_owned()].into())).await
    }

    #[tokio::test]
    async fn only_another_content_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let missing = look(&file).await;
        std::fs::write(&file, "one").unwrap();
        let one = missing.again().await;
        std::fs::write(&file, "two").unwrap();
        let two = one.again().await;
        assert!(missing != one && one != two && missing != two);
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "one").unwrap();
        assert_eq!(two.again().await, one);
    }

    #[tokio::test]
    async fn a_link_that_points_elsewhere_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("..data");
        for version in ["1", "2"] {
            std::fs::create_dir(folder.path().join(version)).unwrap();
            std::fs::write(folder.path().join(version).join("a"), version).unwrap();
        }
        std::os::unix::fs::symlink("1", &data).unwrap();
        std::os::unix::fs::symlink("..data/a", folder.path().join("a")).unwrap();
        let one = look(&folder.path().join("a")).await;
        assert_eq!(one.folders(), [folder.path().to_owned()].into());
        std::fs::remove_file(&data).unwrap();
        std::os::unix::fs::symlink("2", &data).unwrap();
        assert_ne!(one.again().await, one);
    }

    #[tokio::test]
    async fn a_file_without_a_folder_is_here() {
        let seen = look(Path::new("no such file")).await;
        assert_eq!(seen.folders(), [".".into()].into());
    }
}
