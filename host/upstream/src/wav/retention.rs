//! Retention: the oldest recordings are deleted once they are too old, or too many.
//!
//! A sweep runs when the gateway starts, when its configuration was read again, and every five
//! minutes. It runs on a thread of the folder's own disk, so that nobody waits for it.

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

/// Time between two sweeps of a folder. It is walked through each time, which costs something where
/// there are many recordings.
const INTERVAL: Duration = Duration::from_mins(5);

/// What is kept of finished recordings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// How old they may become, from their last audio on. `None`: as old as they like.
    pub age: Option<Duration>,
    /// Bytes that all recordings may have, live ones included. `None`: as many as fit.
    pub total: Option<u64>,
}

impl Bounds {
    /// Whether recordings stay until somebody else deletes them.
    #[must_use]
    pub fn keep_all(&self) -> bool {
        *self == Self::default()
    }
}

/// A folder whose recordings do not stay for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    /// The upstream that its deletions are counted for.
    upstream: String,
    folder: PathBuf,
    bounds: Bounds,
}

/// The task that has folders swept. It ends with this handle.
#[derive(Debug)]
pub struct Retention(watch::Sender<Vec<Kept>>);

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

    /// Goes on with the folders of others, beginning with a sweep.
    pub fn replace<'a>(
        &self,
        recordings: impl Iterator<Item = (&'a str, &'a Recordings)>,
        data_dir: &Path,
    ) {
        self.0.send_replace(kept(recordings, data_dir));
    }
}

/// Several upstreams may record in one folder, with the same bounds: it is swept once.
fn kept<'a>(
    recordings: impl Iterator<Item = (&'a str, &'a Recordings)>,
    data_dir: &Path,
) -> Vec<Kept> {
    let mut folders: Vec<Kept> = Vec::new();
    for (name, recordings) in recordings {
        let folder = data_dir.join(&recordings.folder);
        if !recordings.bounds.keep_all() && folders.iter().all(|known| known.folder != folder) {
            folders.push(Kept {
                upstream: name.to_owned(),
                folder,
                bounds: recordings.bounds,
            });
        }
    }
    folders
}

async fn keep(mut hears: watch::Receiver<Vec<Kept>>) {
    // A disk that hangs keeps its own sweep, and nobody else's.
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

impl Kept {
    /// Deletes what is over the bounds, and says so. Blocks.
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
                "retention could not delete all recordings that it was to"
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
