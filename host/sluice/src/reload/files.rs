//! Files of a configuration, and whether they changed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base::blocking::LOADING;
use base::files::Content;
use base::text;
use config::Config;

/// Minimum age of a file's last change for which its inode shows every later change. File systems
/// count time in steps, and two writes within one step look like one.
const STEP: Duration = Duration::from_secs(2);

/// Content and inodes of the files at one moment.
#[derive(Debug, Clone)]
pub struct SeenFiles {
    contents: Arc<BTreeMap<PathBuf, Content>>,
    inodes: Arc<Vec<Option<Inode>>>,
    /// Time when the inodes were read.
    at: Duration,
}

/// Different content is a change. Another inode with the same content is none.
impl PartialEq for SeenFiles {
    fn eq(&self, other: &Self) -> bool {
        self.contents == other.contents
    }
}

/// Metadata of a file, with links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inode {
    device: u64,
    number: u64,
    size: u64,
    /// Time of the last change, in seconds and nanoseconds. Unlike `mtime` it cannot be set back.
    changed: (i64, i64),
}

impl Inode {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            number: found.ino(),
            size: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    fn is_at_rest(&self, at: Duration) -> bool {
        let changed = u64::try_from(self.changed.0).unwrap_or_default();
        Duration::from_secs(changed) + STEP < at
    }
}

impl SeenFiles {
    /// Files of a configuration, as they were when it was read.
    pub async fn of(config: &Config) -> Self {
        let files = config.files.clone();
        let empty = Self {
            contents: Arc::default(),
            inodes: Arc::default(),
            at: Duration::ZERO,
        };
        off_the_async_threads(move || Self::look(files))
            .await
            .unwrap_or(empty)
    }

    /// The same files as they are now.
    pub async fn again(&self) -> Self {
        let files = self.contents.keys().cloned();
        let files = files.map(|path| (path, None)).collect();
        let looked = off_the_async_threads(move || Self::look(files)).await;
        looked.unwrap_or_else(|| self.clone())
    }

    /// Paths of the files.
    #[must_use]
    pub fn files(&self) -> BTreeSet<PathBuf> {
        self.contents.keys().cloned().collect()
    }

    /// Paths of the files whose content differs from that in `before`.
    pub(super) fn differing(&self, before: &Self) -> BTreeSet<PathBuf> {
        let (now, then) = (&*self.contents, &*before.contents);
        let paths = now.keys().chain(then.keys());
        paths
            .filter(|path| now.get(*path) != then.get(*path))
            .cloned()
            .collect()
    }

    /// Some of its files as they are now.
    pub(super) async fn again_of(&self, files: BTreeSet<PathBuf>) -> Self {
        let files = files.into_iter().map(|path| (path, None)).collect();
        let looked = off_the_async_threads(move || Self::look(files)).await;
        looked.unwrap_or_else(|| self.clone())
    }

    /// Takes the contents of these files from `other`. Files that it did not have before count as
    /// changed at the next quick look.
    pub(super) fn take(&mut self, other: &Self, files: &BTreeSet<PathBuf>) {
        let mut contents = BTreeMap::clone(&self.contents);
        let taken = files.iter();
        contents.extend(taken.filter_map(|file| Some((file.clone(), *other.contents.get(file)?))));
        self.contents = Arc::new(contents);
    }

    /// SHA-256 of a file, in hexadecimal.
    pub(super) fn sha256(&self, file: Option<&Path>) -> Option<String> {
        match self.contents.get(file?)? {
            Content::Digest(digest) => Some(text::hex(digest)),
            Content::Special | Content::Unreadable(_) => None,
        }
    }

    /// Whether their content may have changed. Reads only metadata, because it runs every few
    /// seconds.
    pub(crate) async fn may_have_changed(&self) -> bool {
        let seen = self.clone();
        let looked = off_the_async_threads(move || {
            let now = inodes(&seen.contents);
            let mut files = now.iter().flatten();
            now != *seen.inodes || !files.all(|inode| inode.is_at_rest(seen.at))
        });
        looked.await.unwrap_or(true)
    }

    fn look(files: BTreeMap<PathBuf, Option<Content>>) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH);
        // Before the files are read, so that a later change counts as another one.
        let inodes = inodes(&files);
        let look = |(path, content): (PathBuf, Option<Content>)| {
            let content = content.unwrap_or_else(|| Content::look(&path));
            (path, content)
        };
        Self {
            inodes: Arc::new(inodes),
            contents: Arc::new(files.into_iter().map(look).collect()),
            at: at.unwrap_or_default(),
        }
    }
}

fn inodes<T>(files: &BTreeMap<PathBuf, T>) -> Vec<Option<Inode>> {
    files.keys().map(|path| Inode::of(path)).collect()
}

/// Runs blocking work; `None` if it panicked, which was logged where it happened.
async fn off_the_async_threads<T: Send + 'static>(
    look: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    LOADING.run(look).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(file: &Path) -> SeenFiles {
        SeenFiles::look([(file.to_owned(), None)].into())
    }

    #[tokio::test]
    async fn only_another_content_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let missing = look(&file);
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
        let one = look(&folder.path().join("a"));
        std::fs::remove_file(&data).unwrap();
        std::os::unix::fs::symlink("2", &data).unwrap();
        assert!(one.may_have_changed().await);
        assert_ne!(one.again().await, one);
    }

    #[tokio::test]
    async fn a_quick_look_sees_every_change_and_rests_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "one").unwrap();
        let mut seen = look(&file);
        // A second write within one step cannot be excluded.
        assert!(seen.may_have_changed().await);
        seen.at += 10 * STEP;
        assert!(!seen.may_have_changed().await);
        std::fs::write(&file, "two").unwrap();
        assert!(seen.may_have_changed().await);
        std::fs::remove_file(&file).unwrap();
        assert!(seen.may_have_changed().await);
        assert!(!look(&file).may_have_changed().await);
    }

    #[tokio::test]
    async fn what_was_read_with_the_configuration_is_what_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "one").unwrap();
        let (_, content) = base::files::read(&file);
        std::fs::write(&file, "two").unwrap();
        let seen = SeenFiles::look([(file.clone(), Some(content))].into());
        assert_ne!(seen.again().await, seen);
    }
}
