//! Notices that a file of a project has changed.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::sleep;

use crate::project::{Files, Project};

/// Time between two looks. A project has some dozens of files.
const PAUSE: Duration = Duration::from_millis(150);

/// The files of a project, as they were seen last.
pub(super) struct Watch(Files);

impl Watch {
    /// The files as they are now.
    pub(super) fn of(project: &Project) -> Self {
        Self(project.files())
    }

    /// Waits until the files are others than they were, and have come to rest: editors write a
    /// file in several steps. Returns one that differs.
    pub(super) async fn changed(&mut self, project: &Project) -> PathBuf {
        let mut before = self.0.clone();
        loop {
            sleep(PAUSE).await;
            let now = project.files();
            if now == before
                && let Some(changed) = difference(&self.0, &now)
            {
                self.0 = now;
                return changed;
            }
            before = now;
        }
    }
}

/// A file that is new, gone, or not as it was.
fn difference(before: &Files, now: &Files) -> Option<PathBuf> {
    let mut all = now.keys().chain(before.keys());
    let differs = |file: &&PathBuf| before.get(*file) != now.get(*file);
    all.find(differs).cloned()
}
