//! Retention: deletes the oldest recordings once they are too old or too many.
//!
//! A sweep runs when the gateway starts, after each reload of the configuration, and every five
//! minutes. It runs in the pool of the folder's own disk, so it delays nothing else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::sweep::{Swept, sweep};
use super::Recordings;
use base::blocking::BlockingPool;
use base::metrics;

mod sweep;

/// Time between two sweeps of a folder. A sweep walks through the whole folder, which takes time if
/// there are many recordings.
const INTERVAL: Duration = Duration::from_mins(5);

/// Limits on finished recordings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Maximum age, from the last audio on. `None` is unlimited.
    pub age: Option<Duration>,
    /// Maximum size of all recordings in bytes, live ones included. `None` is unlimited.
    pub total: Option<u64>,
}

impl RetentionLimits {
    /// Whether there is no limit.
    #[must_use]
    pub fn keep_all(&self) -> bool {
        *self == Self::default()
    }
}

/// Folder with limits on its recordings.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SweptFolder {
    /// Upstream in the metrics of its deletions.
    upstream: String,
    folder: PathBuf,
    bounds: RetentionLimits,
}

/// Handle of the retention task. Dropping it ends the task.
#[derive(Debug)]
pub struct Retention(watch::Sender<Vec<SweptFolder>>);

impl Retention {
    /// Starts the task, for the folders of these recordings in a data folder.
    #[must_use]
    pub fn start<'a>(
        recordings: impl Iterator<Item = (&'a str, &'a Recordings)>,
        data_dir: &Path,
    ) -> Self {
        let (told, hears) = watch::channel(kept(recordings, data_dir));
        tokio::spawn(keep(hears));
        Self(told)
    }

    /// Replaces the folders, and sweeps them at once.
    pub fn replace<'a>(
        &self,
        recordings: impl Iterator<Item = (&'a str, &'a Recordings)>,
        data_dir: &Path,
    ) {
        self.0.send_replace(kept(recordings, data_dir));
    }
}

/// Folders to sweep. Several upstreams may share one, with the same limits, and it is swept once.
fn kept<'a>(
    recordings: impl Iterator<Item = (&'a str, &'a Recordings)>,
    data_dir: &Path,
) -> Vec<SweptFolder> {
    let mut folders: Vec<SweptFolder> = Vec::new();
    for (name, recordings) in recordings {
        let folder = data_dir.join(&recordings.folder);
        if !recordings.bounds.keep_all() && folders.iter().all(|known| known.folder != folder) {
            folders.push(SweptFolder {
                upstream: name.to_owned(),
                folder,
                bounds: recordings.bounds,
            });
        }
    }
    folders
}

async fn keep(mut hears: watch::Receiver<Vec<SweptFolder>>) {
    // A disk that hangs delays only its own sweep.
    let mut running: HashMap<PathBuf, JoinHandle<()>> = HashMap::new();
    loop {
        running.retain(|_, sweep| !sweep.is_finished());
        for kept in hears.borrow_and_update().iter() {
            if running.contains_key(&kept.folder) {
                continue;
            }
            let work = kept.clone();
            let sweep = BlockingPool::of_recordings(&kept.folder).run(move || work.sweep());
            running.insert(kept.folder.clone(), sweep);
        }
        tokio::select! {
            changed = hears.changed() => if changed.is_err() {
                return;
            },
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

impl SweptFolder {
    /// Deletes the recordings that exceed the limits, and logs it. Blocks.
    fn sweep(&self) {
        let Self {
            upstream,
            folder,
            bounds,
        } = self;
        let swept = sweep(folder, bounds, SystemTime::now());
        metrics::recordings_removed(upstream, swept.files, swept.bytes, swept.failures);
        let Swept {
            files,
            bytes,
            failures,
            kept_files,
            kept_bytes,
            first_failure,
        } = swept;
        let folder = folder.display();
        if let Some(error) = first_failure {
            tracing::warn!(
                upstream, %folder, files, bytes, failures, kept_files, kept_bytes, error,
                "retention could not delete all recordings over the limits"
            );
        } else if files > 0 {
            tracing::info!(
                upstream, %folder, files, bytes, kept_files, kept_bytes,
                "retention deleted recordings"
            );
        } else {
            tracing::debug!(
                upstream, %folder, kept_files, kept_bytes,
                "retention found nothing to delete"
            );
        }
        if bounds.total.is_some_and(|total| kept_bytes > total) {
            tracing::warn!(
                upstream, %folder, kept_bytes,
                "more is kept than `keep_total`: what is left is still being written, or cannot be \
                 deleted"
            );
        }
    }
}
