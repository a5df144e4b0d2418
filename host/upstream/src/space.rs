//! Free space of a disk. Below a watermark no new recording begins, so that running ones have space
//! until their end.

use std::io;
use std::path::Path;
use std::sync::Arc;

/// Number of bytes of a disk that stay free. 0: no watermark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watermark(pub u64);

/// Error: a disk has less free space than its watermark.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{free} bytes are free for {}, and `min_free` keeps {min_free}: delete something, or lower it",
    folder.display()
)]
pub struct Scarce {
    folder: Arc<Path>,
    free: u64,
    min_free: u64,
}

impl Watermark {
    /// Checks whether a recording may begin in a folder with this much free space. It may if the
    /// file system does not report its free space.
    ///
    /// # Errors
    /// [`Scarce`] if there is too little.
    pub fn check(self, folder: &Path, free: Option<u64>) -> Result<(), Scarce> {
        match free {
            Some(free) if free < self.0 => Err(Scarce {
                folder: folder.into(),
                free,
                min_free: self.0,
            }),
            _ => Ok(()),
        }
    }
}

/// Number of bytes that this process may still write to a folder's disk, without the superuser's
/// reserve. `None` if the file system has no size, as a tmpfs without a limit. Blocks.
///
/// # Errors
/// If the file system reports an error.
pub fn free(folder: &Path) -> io::Result<Option<u64>> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok((disk.f_blocks > 0).then(|| disk.f_bavail.saturating_mul(disk.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_the_watermark_is_too_little_and_what_is_not_known_is_enough() {
        let check = |min_free, free| Watermark(min_free).check(Path::new("/data"), free);
        let scarce = check(100, Some(99)).unwrap_err().to_string();
        assert!(
            scarce.contains("99 bytes") && scarce.contains("/data"),
            "{scarce}"
        );
        for (min_free, free) in [(100, Some(100)), (100, None), (0, Some(0))] {
            check(min_free, free).unwrap();
        }
    }

    #[test]
    fn a_disk_says_what_is_free_and_a_folder_that_is_not_there_has_no_disk() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free(folder.path()).unwrap().is_none_or(|free| free > 0));
        let missing = free(&folder.path().join("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
