//! A recording's file, shared by the link and by the threads that wait for its disk.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failure::Failure;
use super::format::Format;
use super::track::Track;

/// The file, and the audio that is on its way there.
///
/// There are two locks. `track` is held while the disk is waited for, so only threads of the disk's
/// room take it. `pending` is held for a copy in memory at the most, so that the link may take it
/// too, whatever the disk does.
///
/// Audio goes through `pending` instead of being handed to the task that writes
/// it: whoever holds the file last writes what is left, so that a task that
/// never got to run loses nothing, and the order is kept.
pub(super) struct Shared {
    path: Arc<Path>,
    format: Format,
    pending: Mutex<Vec<u8>>,
    track: Mutex<Track>,
}

impl Shared {
    pub(super) fn new(track: Track) -> Self {
        Self {
            path: Arc::clone(track.path()),
            format: track.format(),
            pending: Mutex::default(),
            track: Mutex::new(track),
        }
    }

    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Adds audio to what is written next.
    pub(super) fn push(&self, audio: Vec<u8>) {
        let mut pending = lock(&self.pending);
        if pending.is_empty() {
            *pending = audio;
        } else {
            pending.extend_from_slice(&audio);
        }
    }

    /// Writes what was pushed. Blocks.
    ///
    /// # Errors
    /// As [`Track::write`].
    pub(super) fn flush(&self) -> Result<(), Failure> {
        self.write(&mut lock(&self.track))
    }

    /// Writes what was pushed, and waits until the disk has it. Blocks.
    ///
    /// # Errors
    /// As [`Track::seal`].
    pub(super) fn seal(&self) -> Result<(), Failure> {
        let mut track = lock(&self.track);
        self.write(&mut track)?;
        track.seal()
    }

    /// What is pending is taken by whoever may write: it is written in its order.
    fn write(&self, track: &mut Track) -> Result<(), Failure> {
        let audio = std::mem::take(&mut *lock(&self.pending));
        track.write(&audio)
    }
}

/// Writes what is left, as well as it can.
impl Drop for Shared {
    fn drop(&mut self) {
        if lock(&self.pending).is_empty() {
            return;
        }
        if let Err(failure) = self.flush() {
            tracing::warn!(
                error = format!("{:#}", anyhow::Error::new(failure)),
                "some audio was lost"
            );
        }
    }
}

/// Audio and a file keep their invariants at every step, so that a panic
/// elsewhere does not make them less fit to be written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
