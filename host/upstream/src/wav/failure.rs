//! Errors of a recording, in words for the client and for the operator.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use crate::link::{Lost, OpenError};
use crate::space::Scarce;

/// Error of a recording. Cheap to clone, because a broken link returns it at every poll.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum RecordingError {
    /// The file system refused.
    #[error("cannot write {}", path.display())]
    Disk {
        path: Arc<Path>,
        #[source]
        cause: Arc<io::Error>,
    },
    /// The disk has less free space than must stay free.
    #[error(transparent)]
    Scarce(#[from] Scarce),
    /// One more message would exceed the 32 bits of the header.
    #[error("{} has reached the 4 GiB limit of WAV", path.display())]
    Full { path: Arc<Path> },
    /// The process ended before the audio was written in the background.
    #[error("{} was not flushed: the runtime is shutting down", path.display())]
    Cancelled { path: Arc<Path> },
}

impl RecordingError {
    pub(super) fn disk(path: &Arc<Path>, cause: io::Error) -> Self {
        Self::Disk {
            path: Arc::clone(path),
            cause: Arc::new(cause),
        }
    }

    pub(super) fn open_error(self) -> OpenError {
        OpenError::unavailable(self.public("recording is not possible"), self)
    }

    pub(super) fn lost(self) -> Lost {
        Lost {
            public: self.public("recording failed"),
            detail: self.into(),
        }
    }

    fn public(&self, what: &str) -> String {
        match self {
            Self::Disk { cause, .. } => match reason(cause) {
                Some(reason) => format!("{what}: {reason}"),
                None => what.to_owned(),
            },
            // The state of the disk is not for the client.
            Self::Scarce(_) => "the recording cannot be begun now".to_owned(),
            Self::Full { .. } => "recording reached the 4 GiB limit of WAV".to_owned(),
            Self::Cancelled { .. } => what.to_owned(),
        }
    }
}

/// Causes that the client may learn, because its user can report them to an operator.
fn reason(cause: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(cause) {
        Some(Errno::MFILE | Errno::NFILE) => return Some("too many open files"),
        Some(Errno::IO) => return Some("the disk has an error"),
        _ => {}
    }
    match cause.kind() {
        io::ErrorKind::StorageFull => Some("no space left on device"),
        io::ErrorKind::QuotaExceeded => Some("disk quota exceeded"),
        io::ErrorKind::FileTooLarge => Some("file size limit reached"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some("folder is not writable")
        }
        io::ErrorKind::NotFound => Some("folder is missing"),
        io::ErrorKind::NotADirectory => Some("folder is not a folder"),
        _ => None,
    }
}
