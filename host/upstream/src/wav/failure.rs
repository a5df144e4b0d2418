//! What can go wrong with a recording, in words for the client and for the
//! operator.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use crate::link::{Lost, OpenError};
use crate::space::Scarce;

/// Why a recording cannot begin or go on. Cheap to clone, because a broken
/// link says so at every poll.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Failure {
    /// The file system refused.
    #[error("cannot write {}", path.display())]
    Disk {
        path: Arc<Path>,
        #[source]
        cause: Arc<io::Error>,
    },
    /// The disk is to keep the space that it has.
    #[error(transparent)]
    Scarce(#[from] Scarce),
    /// One more message would not fit in the header's 32 bits.
    #[error("{} has reached the 4 GiB limit of WAV", path.display())]
    Full { path: Arc<Path> },
    /// The process ended before the audio was written in the background.
    #[error("{} was not flushed: the runtime is shutting down", path.display())]
    Cancelled { path: Arc<Path> },
}

impl Failure {
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
            // How full a disk is, is no client's business.
            Self::Scarce(_) => "the recording cannot be begun now".to_owned(),
            Self::Full { .. } => "recording reached the 4 GiB limit of WAV".to_owned(),
            Self::Cancelled { .. } => what.to_owned(),
        }
    }
}

/// The causes that a client's user can pass on to an operator with profit.
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
