//! What one process at a time has of a data folder.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::lock::DataLock;
use crate::unclean::RunFile;
use policy::recorder::Recorder;
use session::store::Store;

/// Time that the end waits for the disk.
const LAST: Duration = Duration::from_secs(2);

/// What one process at a time has of a data folder.
pub(super) struct Held {
    pub(super) lock: DataLock,
    pub(super) run_file: RunFile,
    pub(super) streams: Option<Arc<dyn Store>>,
    pub(super) decisions: Recorder,
}

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Every connection was closed, or goes on without the folder.
    Clean,
    /// Connections were cut, which the next process is to notice.
    Abandoned,
}

impl Held {
    /// Lets go of the folder, once everything is written.
    pub(super) async fn let_go(self, end: End) {
        if end == End::Clean {
            self.run_file.end().await;
        }
        self.decisions.flush().await;
        if let (Some(streams), End::Clean) = (&self.streams, end)
            && timeout(LAST, streams.close()).await.is_err()
        {
            tracing::warn!("the store of streams was not closed in time");
        }
        drop(self.lock);
    }
}
