//! The file that a tape goes on in when there is no more room in memory.
//!
//! It has no name, so that nothing is left of it however the process ends. It
//! is written and read in the background, one segment at a time.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::task::JoinHandle;

use crate::blocking::{HELD, Kept};

/// See the module.
pub(super) struct Spill {
    folder: Arc<Path>,
    file: Option<Kept<File>>,
    /// Where the next segment goes, and where the last one must end.
    end: u64,
    max: u64,
    work: Work,
}

enum Work {
    None,
    Writing {
        number: u64,
        at: u64,
        done: JoinHandle<io::Result<Kept<File>>>,
    },
    Reading {
        number: u64,
        done: JoinHandle<io::Result<Bytes>>,
    },
}

/// Work that was done.
pub(super) enum Done {
    /// This segment is in the file, from this byte on.
    Written { number: u64, at: u64 },
    /// This segment is back.
    Read { number: u64, bytes: Bytes },
    /// Nothing was done.
    Failed(io::Error),
}

impl Spill {
    /// A file of so many bytes at the most, made in a folder when it is needed.
    pub(super) fn new(folder: Arc<Path>, max: u64) -> Self {
        Self {
            folder,
            file: None,
            end: 0,
            max,
            work: Work::None,
        }
    }

    /// What was done; `None` where there is nothing to do.
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
                        // A disk that is full stays so for a while: the tape has
                        // to do with what it has.
                        self.max = 0;
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

    /// Starts to write a segment, if there is room for it.
    pub(super) fn write(&mut self, number: u64, bytes: Bytes) -> bool {
        let at = self.end;
        let end = at + bytes.len() as u64;
        if end > self.max || !matches!(self.work, Work::None) {
            return false;
        }
        self.end = end;
        let (file, folder) = (self.file.clone(), Arc::clone(&self.folder));
        let done = HELD.run(move || {
            let file = match file {
                Some(file) => file,
                None => Kept::new(&HELD, create(&folder)?),
            };
            file.write_all_at(&bytes, at)?;
            Ok(file)
        });
        self.work = Work::Writing { number, at, done };
        true
    }

    /// Starts to read a segment back.
    ///
    /// # Errors
    /// Where there is no file.
    pub(super) fn read(&mut self, number: u64, at: u64, length: usize) -> io::Result<()> {
        let Some(file) = self.file.clone() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let done = HELD.run(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, at)?;
            Ok(bytes.into())
        });
        self.work = Work::Reading { number, done };
        Ok(())
    }

    /// Whether nothing is in the file.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Nothing that is in the file is needed any more.
    pub(super) fn rewind(&mut self) {
        if matches!(self.work, Work::None) {
            self.end = 0;
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
