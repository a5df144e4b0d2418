//! Recordings on the disk.

use serde::{Deserialize, Serialize};

use super::time;
use upstream::wav::stored::StoredRecording;

/// Answer of `GET /recordings`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recordings {
    /// Number of recordings that the search finds.
    pub matching: u64,
    /// The newest of them, the newest first.
    pub recordings: Vec<Recording>,
}

/// A recording.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Path below the upstream's folder.
    pub path: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Time when audio was last added to it.
    pub written: String,
    /// Whether it is being written, or held for a client that may come back.
    pub live: bool,
}

/// Answer of `DELETE /recordings/{path}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordingDeleted {
    /// Path of the recording that is gone.
    pub deleted: String,
}

impl Recording {
    /// A recording that was last written at this time, in milliseconds since 1970.
    #[must_use]
    pub(crate) fn of(stored: &StoredRecording, written_ms: u64) -> Self {
        Self {
            path: stored.path.to_string_lossy().into_owned(),
            bytes: stored.bytes,
            written: time(written_ms),
            live: stored.is_live,
        }
    }
}
