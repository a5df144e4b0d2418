//! Lock of a data folder, so that one gateway at a time serves from it.
//!
//! Two gateways on one folder would mix their recordings. The kernel releases the lock (flock) when
//! the process ends in any way, so no stale lock is left behind. Commands that only read the
//! folder, or make a key in it, need no lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Name of the locked file in the data folder. It holds the process id of the gateway.
const NAME: &str = "gateway.lock";

/// Time between two attempts to take the lock.
const AGAIN: Duration = Duration::from_millis(10);

/// Error: another gateway serves from the folder.
#[derive(Debug, thiserror::Error)]
#[error(
    "another gateway{} serves from the data folder {} already; \
     stop it, or choose another folder with data_dir or --data-dir",
    pid.as_deref().map(|pid| format!(" (process {pid})")).unwrap_or_default(), folder.display()
)]
pub struct FolderInUse {
    folder: PathBuf,
    /// Process id from the file; `None` if it is not written yet.
    pid: Option<String>,
}

/// Held lock. Dropping it releases the lock.
#[derive(Debug)]
#[must_use]
pub struct DataLock(Option<File>);

impl DataLock {
    /// Takes the lock as [`DataLock::take`] does, and waits for it if another process is about to end.
    ///
    /// # Errors
    /// [`FolderInUse`]
    pub(crate) async fn take_within(folder: &Path, longest: Duration) -> Result<Self, FolderInUse> {
        let deadline = Instant::now() + longest;
        loop {
            match Self::take(folder) {
                Err(_) if Instant::now() < deadline => sleep(AGAIN).await,
                taken => return taken,
            }
        }
    }

    /// Whether no other gateway serves from the folder, as far as locks can tell.
    pub fn is_held(&self) -> bool {
        self.0.is_some()
    }

    /// Takes the lock. If the folder cannot be locked, because it is read-only or its file system
    /// has no locks, the gateway serves without a lock and logs a warning.
    ///
    /// # Errors
    /// [`FolderInUse`]
    pub fn take(folder: &Path) -> Result<Self, FolderInUse> {
        let unlocked = |error: io::Error| {
            tracing::warn!(
                folder = %folder.display(), %error,
                "the data folder cannot be locked; do not run another gateway with it"
            );
            Ok(Self(None))
        };
        let mut file = match open(folder) {
            Ok(file) => file,
            Err(error) => return unlocked(error),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FolderInUse {
                    folder: folder.to_owned(),
                    pid: holder(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return unlocked(error),
        }
        // The process id is information for the next gateway. The lock holds without it.
        let said = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = said {
            tracing::warn!(folder = %folder.display(), %error, "the lock does not say whose it is");
        }
        Ok(Self(Some(file)))
    }
}

fn open(folder: &Path) -> io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(folder.join(NAME))
}

fn holder(file: &mut File) -> Option<String> {
    let mut pid = String::new();
    file.take(32).read_to_string(&mut pid).ok()?;
    let pid = pid.trim();
    let is_number = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| pid.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_until_its_lock_is_let_go_of() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let lock = DataLock::take(&data).expect("it is free");
        let taken = DataLock::take(&data).expect_err("it is taken").to_string();
        let (pid, data_shown) = (std::process::id(), data.display());
        assert!(
            taken.contains(&format!(
                "(process {pid}) serves from the data folder {data_shown} "
            )),
            "{taken}"
        );
        drop(lock);
        drop(DataLock::take(&data).expect("it is free again"));
    }

    #[test]
    fn a_file_that_was_left_behind_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "4194304999 and more\n").unwrap();
        drop(DataLock::take(folder.path()).expect("nobody holds it"));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_served_from_without_a_lock() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let first = DataLock::take(&file).expect("no lock");
        let second = DataLock::take(&file).expect("no lock");
        assert!(first.0.is_none() && second.0.is_none());
    }
}
