//! Link of one recording, which gathers audio and has it written in the background.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, poll_fn};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep};

use super::failure::RecordingError;
use super::format::MAX_DATA;
use super::shared::SharedTrack;
use crate::link::{Downward, Link, Lost, Place, Receipts, Sealed, StreamEnd, Upward};
use base::blocking::{BlockingPool, Kept};

/// Maximum time that audio stays in memory.
const MAX_AGE: Duration = Duration::from_millis(500);

/// Maximum number of bytes of one write.
const MAX_BATCH: usize = 64 * 1024;

/// Link of one recording. Its memory is bounded. It gathers up to `batch` bytes and a message.
/// While those are being written it takes more, up to `bound` bytes and a message. Then it is not
/// ready. A silent stream holds no buffer and no timer.
pub(super) struct RecordingLink {
    file: Kept<SharedTrack>,
    pool: &'static BlockingPool,
    path: Arc<Path>,
    /// Bytes of one sample of all channels.
    frame: u64,
    gathered: Vec<u8>,
    /// Time when the oldest gathered byte must be written. `None` if none is gathered.
    due: Option<Pin<Box<Sleep>>>,
    writer: Writer,
    failure: Option<RecordingError>,
    /// Task that must poll `due` once it is set.
    idle: Option<Waker>,
    taken: u64,
    receipts: Receipts,
    /// Number of bytes that were written, and of those that the client was told.
    kept: u64,
    told: u64,
    batch: usize,
    bound: usize,
    limit: u64,
}

enum Writer {
    Idle,
    Writing {
        bytes: usize,
        done: JoinHandle<Result<(), RecordingError>>,
    },
}

impl RecordingLink {
    /// Link of a file, whose disk this pool waits for. The file has `written` bytes of audio.
    pub(super) fn new(
        file: Kept<SharedTrack>,
        written: u64,
        pool: &'static BlockingPool,
        receipts: Receipts,
    ) -> Self {
        let path = Arc::clone(file.path());
        let frame = file.format().frame();
        let second = usize::try_from(file.format().bytes_per_second()).unwrap_or(usize::MAX);
        // At most three quarters of a second are held, of which half a second is written at once.
        // With one message of a usual size that is less than a second.
        let batch = (second / 2).clamp(1, MAX_BATCH);
        Self {
            file,
            pool,
            path,
            frame,
            gathered: Vec::new(),
            due: None,
            writer: Writer::Idle,
            failure: None,
            idle: None,
            taken: written,
            receipts,
            kept: written,
            told: 0,
            batch,
            bound: batch + batch / 2,
            limit: MAX_DATA,
        }
    }

    /// Makes progress without waiting: takes the result of a finished write, and starts the next
    /// one when it is due.
    fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        while self.poll_writer(cx).is_ready() && self.failure.is_none() && self.is_time(cx) {
            self.start_write();
        }
        match &self.failure {
            Some(failure) => Err(failure.clone().lost()),
            None => Ok(()),
        }
    }

    /// Ready if nothing is being written.
    fn poll_writer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Writer::Writing { bytes, done } = &mut self.writer {
            let bytes = *bytes as u64;
            let result = ready!(done.poll_unpin(cx)).unwrap_or_else(|_| {
                Err(RecordingError::Cancelled {
                    path: Arc::clone(&self.path),
                })
            });
            self.writer = Writer::Idle;
            match result {
                Ok(()) => {
                    self.kept += bytes;
                    if self.receipts == Receipts::Given {
                        // The polling task may not be about to poll for events.
                        cx.waker().wake_by_ref();
                    }
                }
                Err(failure) => {
                    self.failure.get_or_insert(failure);
                }
            }
        }
        Poll::Ready(())
    }

    fn is_time(&mut self, cx: &mut Context<'_>) -> bool {
        self.gathered.len() >= self.batch
            || self
                .due
                .as_mut()
                .is_some_and(|due| due.poll_unpin(cx).is_ready())
    }

    fn start_write(&mut self) {
        self.due = None;
        let audio = std::mem::take(&mut self.gathered);
        let bytes = audio.len();
        self.file.push(audio);
        let file = self.file.clone();
        let receipts = self.receipts;
        let done = self.pool.run(move || match receipts {
            Receipts::Given => file.seal(),
            Receipts::None => file.flush(),
        });
        self.writer = Writer::Writing { bytes, done };
    }

    fn take(&mut self, audio: &[u8]) {
        if self.failure.is_some() || audio.is_empty() {
            return;
        }
        let taken = self.taken + audio.len() as u64;
        if taken > self.limit {
            self.failure = Some(RecordingError::Full {
                path: Arc::clone(&self.path),
            });
            return;
        }
        self.taken = taken;
        if self.gathered.is_empty() {
            self.gathered.reserve_exact(self.batch + audio.len());
            self.due = Some(Box::pin(sleep(MAX_AGE)));
            if let Some(waker) = self.idle.take() {
                waker.wake();
            }
        }
        self.gathered.extend_from_slice(audio);
    }
}

impl Link for RecordingLink {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.drive(cx)?;
        match self.writer {
            Writer::Writing { bytes, .. } if bytes + self.gathered.len() >= self.bound => {
                Poll::Pending
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn start_send(&mut self, message: Upward) {
        match message {
            Upward::Binary(audio) => self.take(&audio),
            // A WAV file cannot store these.
            Upward::Text(_) | Upward::Control(_) => {}
        }
    }

    fn held(&self) -> usize {
        let writing = match self.writer {
            Writer::Idle => 0,
            Writer::Writing { bytes, .. } => bytes,
        };
        self.gathered.len() + writing
    }

    fn receipts(&self) -> Receipts {
        self.receipts
    }

    fn place(&self) -> Option<Place> {
        Some(Place::Recording(self.file.place()))
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        self.drive(cx)?;
        // The header counts whole frames, and another process finds what it counts.
        let kept = self.kept / self.frame * self.frame;
        if self.receipts == Receipts::Given && self.told < kept {
            self.told = kept;
            return Poll::Ready(Ok(Downward::Kept(kept)));
        }
        if self.gathered.is_empty() {
            self.idle = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn seal(mut self: Box<Self>, _: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        async move {
            poll_fn(|cx| self.poll_writer(cx)).await;
            let sealed = Sealed { bytes: self.taken };
            let path = Arc::clone(&self.path);
            let failure = self.failure.take();
            let (file, pool) = (self.file.clone(), self.pool);
            // The drop pushes what is gathered. The task below becomes the only owner of the file,
            // even if this future is dropped.
            drop(self);
            let written = pool
                .run(move || file.seal())
                .await
                .unwrap_or(Err(RecordingError::Cancelled { path }));
            match failure.map_or(written, Err) {
                Ok(()) => Ok(sealed),
                Err(failure) => Err(failure.lost()),
            }
        }
        .boxed()
    }
}

/// A recording that was not sealed leaves its audio to the last owner of the file, which writes it
/// in a thread that may block. This may be a worker thread.
impl Drop for RecordingLink {
    fn drop(&mut self) {
        if !self.gathered.is_empty() {
            self.file.push(std::mem::take(&mut self.gathered));
        }
    }
}

#[cfg(test)]
mod tests;
