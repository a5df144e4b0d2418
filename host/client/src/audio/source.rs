//! Source of samples: a file, of which any byte can be read again, or a pipe, of which only kept
//! bytes can.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use tokio::sync::mpsc;

/// Size of one read from a pipe, in bytes.
const READ: usize = 32 * 1024;
/// Maximum number of reads ahead of the stream.
const AHEAD: usize = 8;
/// Maximum number of bytes of a pipe that are kept: two hours of the usual audio.
const MAX_KEPT: usize = 256 * 1024 * 1024;

/// Reason why bytes are not available.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The gateway did not acknowledge them in time, so too many are kept.
    #[error(
        "the gateway has not acknowledged the last {} MiB, and more is not kept of what cannot \
         be read twice", MAX_KEPT / (1024 * 1024)
    )]
    TooMuchKept,
    /// They came from a pipe and are not kept.
    #[error("byte {0} was read from a pipe and is not kept")]
    NotKept(u64),
    /// The source cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// Source of samples. Offsets are in bytes of audio.
pub enum AudioSource {
    /// A file, whose audio begins at this byte.
    File(File, u64),
    /// A pipe.
    Pipe(Pipe),
}

/// A pipe with a thread that reads it, because reading waits for another program.
pub struct Pipe {
    reads: mpsc::Receiver<io::Result<Bytes>>,
    kept: VecDeque<u8>,
    kept_from: u64,
    ended: bool,
    keeps: bool,
}

impl AudioSource {
    /// Source that reads the rest of a pipe. Its thread ends with the process.
    pub fn pipe(mut reader: impl Read + Send + 'static) -> io::Result<Self> {
        let (sender, reads) = mpsc::channel(AHEAD);
        std::thread::Builder::new()
            .name("audio".to_owned())
            .spawn(move || {
                let mut buffer = vec![0; READ];
                loop {
                    let read = match reader.read(&mut buffer) {
                        Ok(0) => return,
                        Ok(read) => Ok(Bytes::copy_from_slice(&buffer[..read])),
                        Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                        Err(error) => Err(error),
                    };
                    let failed = read.is_err();
                    if sender.blocking_send(read).is_err() || failed {
                        return;
                    }
                }
            })?;
        Ok(Self::Pipe(Pipe {
            reads,
            kept: VecDeque::new(),
            kept_from: 0,
            ended: false,
            keeps: true,
        }))
    }

    /// Reads bytes from an offset; fewer at the end.
    ///
    /// # Errors
    /// [`SourceError`]
    pub async fn bytes(&mut self, from: u64, count: usize) -> Result<Bytes, SourceError> {
        match self {
            Self::File(file, begins) => {
                let mut bytes = vec![0; count];
                let mut read = 0;
                while read < count {
                    match file.read_at(&mut bytes[read..], *begins + from + read as u64) {
                        Ok(0) => break,
                        Ok(more) => read += more,
                        Err(error) if error.kind() == ErrorKind::Interrupted => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                bytes.truncate(read);
                Ok(bytes.into())
            }
            Self::Pipe(pipe) => pipe.bytes(from, count).await,
        }
    }

    /// Discards the bytes before an offset.
    pub fn forget(&mut self, before: u64) {
        if let Self::Pipe(pipe) = self {
            pipe.forget(before);
        }
    }

    /// Stops keeping bytes.
    pub(crate) fn keep_nothing(&mut self) {
        if let Self::Pipe(pipe) = self {
            pipe.keeps = false;
        }
    }

    /// Whether a byte that was read is still available.
    pub fn has(&self, position: u64) -> bool {
        match self {
            Self::File(..) => true,
            Self::Pipe(pipe) => (pipe.kept_from..=pipe.read()).contains(&position),
        }
    }

    /// Length in bytes, if it is known: for a pipe only at its end.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::File(file, begins) => {
                let length = file.metadata().ok()?.len();
                Some(length.saturating_sub(*begins))
            }
            Self::Pipe(pipe) => pipe.ended.then(|| pipe.read()),
        }
    }
}

impl Pipe {
    /// Number of bytes that were read.
    fn read(&self) -> u64 {
        self.kept_from + self.kept.len() as u64
    }

    async fn bytes(&mut self, from: u64, count: usize) -> Result<Bytes, SourceError> {
        let start = from
            .checked_sub(self.kept_from)
            .and_then(|start| usize::try_from(start).ok())
            .ok_or(SourceError::NotKept(from))?;
        while self.kept.len() < start + count && !self.ended {
            match self.reads.recv().await {
                None => self.ended = true,
                Some(read) => {
                    self.kept.extend(read?);
                    if self.kept.len() > MAX_KEPT {
                        return Err(SourceError::TooMuchKept);
                    }
                }
            }
        }
        let end = (start + count).min(self.kept.len());
        let bytes = self.kept.range(start.min(end)..end).copied().collect();
        if !self.keeps {
            self.forget(from + (end - start.min(end)) as u64);
        }
        Ok(bytes)
    }

    fn forget(&mut self, before: u64) {
        let count = before.saturating_sub(self.kept_from);
        let count = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(self.kept.len());
        self.kept.drain(..count);
        self.kept_from += count as u64;
    }
}
