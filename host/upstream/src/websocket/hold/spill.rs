//! File of a replay buffer, for what does not fit in memory.
//!
//! The file has no name, so that nothing is left of it however the process ends. It is written and
//! read in the background, one segment at a time.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::task::JoinHandle;

use super::quota::{FileQuota, Lease};
use crate::space::{self, Watermark};
use base::blocking::{HELD, Kept};

/// Temporary file of bounded size, created when it is first needed.
pub(super) struct Spill {
    folder: Arc<Path>,
    bounds: SpillLimits,
    file: Option<Kept<Leased>>,
    /// Share of the upstream's quota.
    lease: Arc<Lease>,
    quota: Arc<FileQuota>,
    /// Offset of the next segment.
    end: u64,
    work: Work,
}

/// Limits on the size of files, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpillLimits {
    /// Limit on this file.
    pub(super) file: u64,
    /// Limit on all files of the quota.
    pub(super) all: u64,
    /// Free space that their disk must keep.
    pub(super) min_free: Watermark,
}

/// File with its share of the quota. The share is returned after the file is closed and its space
/// is free again.
struct Leased {
    file: File,
    _lease: Arc<Lease>,
}

enum Work {
    None,
    Writing {
        number: u64,
        at: u64,
        done: JoinHandle<io::Result<Kept<Leased>>>,
    },
    Reading {
        number: u64,
        done: JoinHandle<io::Result<Bytes>>,
    },
}

/// Result of a read or a write.
pub(super) enum Done {
    /// This segment is in the file, from this byte on.
    Written { number: u64, at: u64 },
    /// This segment is back.
    Read { number: u64, bytes: Bytes },
    /// The read or write failed.
    Failed(io::Error),
}

impl Spill {
    /// File in a folder, within these bounds. Nothing is created yet.
    pub(super) fn new(folder: Arc<Path>, bounds: SpillLimits, quota: Arc<FileQuota>) -> Self {
        Self {
            folder,
            bounds,
            file: None,
            lease: quota.lease(),
            quota,
            end: 0,
            work: Work::None,
        }
    }

    /// Result of the work that was started; `None` if there is none.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Done>> {
        let done = match &mut self.work {
            Work::None => return Poll::Ready(None),
            Work::Writing { number, at, done } => {
                match ready!(done.poll_unpin(cx)).unwrap_or_else(|_| Err(stopped())) {
                    Ok(file) => {
                        self.file = Some(file);
                        Done::Written {
                            number: *number,
                            at: *at,
                        }
                    }
                    Err(error) => {
                        // A full disk stays full for a while, so the buffer continues without more
                        // space in the file.
                        self.bounds.file = 0;
                        if self.file.is_none() {
                            self.lease = self.quota.lease();
                        }
                        Done::Failed(error)
                    }
                }
            }
            Work::Reading { number, done } => {
                match ready!(done.poll_unpin(cx)).unwrap_or_else(|_| Err(stopped())) {
                    Ok(bytes) => Done::Read {
                        number: *number,
                        bytes,
                    },
                    Err(error) => Done::Failed(error),
                }
            }
        };
        self.work = Work::None;
        Poll::Ready(Some(done))
    }

    /// Starts to write a segment, if there is quota for it.
    pub(super) fn write(&mut self, number: u64, bytes: Bytes) -> bool {
        let at = self.end;
        let end = at + bytes.len() as u64;
        if end > self.bounds.file || !matches!(self.work, Work::None) {
            return false;
        }
        if !self.lease.grow(bytes.len() as u64, self.bounds.all) {
            return false;
        }
        self.end = end;
        let (file, folder) = (self.file.clone(), Arc::clone(&self.folder));
        let (lease, min_free) = (Arc::clone(&self.lease), self.bounds.min_free);
        let done = HELD.run(move || {
            let file = match file {
                Some(file) => file,
                None => {
                    let file = create(&folder)?;
                    Kept::new(
                        &HELD,
                        Leased {
                            file,
                            _lease: lease,
                        },
                    )
                }
            };
            min_free
                .check(&folder, space::free(&folder)?)
                .map_err(|scarce| io::Error::new(io::ErrorKind::StorageFull, scarce))?;
            file.file.write_all_at(&bytes, at)?;
            Ok(file)
        });
        self.work = Work::Writing { number, at, done };
        true
    }

    /// Starts to read a segment.
    ///
    /// # Errors
    /// If there is no file.
    pub(super) fn read(&mut self, number: u64, at: u64, length: usize) -> io::Result<()> {
        let Some(file) = self.file.clone() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let done = HELD.run(move || {
            let mut bytes = vec![0; length];
            file.file.read_exact_at(&mut bytes, at)?;
            Ok(bytes.into())
        });
        self.work = Work::Reading { number, done };
        Ok(())
    }

    /// Whether nothing is in the file.
    pub(super) fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Frees the space of the file, because nothing in it is needed any more.
    pub(super) fn clear(&mut self) {
        if self.end > 0 && matches!(self.work, Work::None) {
            self.end = 0;
            self.file = None;
            self.lease = self.quota.lease();
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the runtime is shutting down")
}

fn create(folder: &Path) -> io::Result<File> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    tempfile::tempfile_in(folder)
}
