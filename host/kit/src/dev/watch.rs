//! Notices that a file of a project has changed.

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
    /// file in several steps.
    pub(super) async fn changed(&mut self, project: &Project) {
        let mut before = self.0.clone();
        loop {
            sleep(PAUSE).await;
            let now = project.files();
            if now == before && now != self.0 {
                self.0 = now;
                return;
            }
            before = now;
        }
    }
}
