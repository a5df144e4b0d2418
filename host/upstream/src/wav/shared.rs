//! File of a recording, shared by the link and the threads that wait for its disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failure::RecordingError;
use super::format::Format;
use super::track::Track;

/// File of a recording, and the audio that waits to be written to it.
///
/// There are two locks. `track` is held while a thread waits for the disk, so only threads of the
/// disk's pool take it. `pending` is held only for a copy in memory, so the link may take it too.
///
/// Audio is put into `pending`, and not given to the task that writes it, because the last owner of
/// the file writes what is left. So a task that never ran loses nothing, and the order is kept.
pub(super) struct SharedTrack {
    path: Arc<Path>,
    /// The path below the folder of all recordings.
    place: PathBuf,
    format: Format,
    pending: Mutex<Vec<u8>>,
    track: Mutex<Track>,
}

impl SharedTrack {
    pub(super) fn new(track: Track) -> Self {
        Self {
            path: Arc::clone(track.path()),
            place: track.place(),
            format: track.format(),
            pending: Mutex::default(),
            track: Mutex::new(track),
        }
    }

    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Path below the folder of all recordings.
    pub(super) fn place(&self) -> PathBuf {
        self.place.clone()
    }

    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Adds audio to the next write.
    pub(super) fn push(&self, audio: Vec<u8>) {
        let mut pending = lock(&self.pending);
        if pending.is_empty() {
            *pending = audio;
        } else {
            pending.extend_from_slice(&audio);
        }
    }

    /// Writes the pending audio. Blocks.
    ///
    /// # Errors
    /// As [`Track::write`].
    pub(super) fn flush(&self) -> Result<(), RecordingError> {
        self.write(&mut lock(&self.track))
    }

    /// Writes the pending audio, and waits until the disk has it. Blocks.
    ///
    /// # Errors
    /// As [`Track::seal`].
    pub(super) fn seal(&self) -> Result<(), RecordingError> {
        let mut track = lock(&self.track);
        self.write(&mut track)?;
        track.seal()
    }

    /// Writes the pending audio. Any owner may do so, and the order is kept.
    fn write(&self, track: &mut Track) -> Result<(), RecordingError> {
        let audio = std::mem::take(&mut *lock(&self.pending));
        track.write(&audio)
    }
}

/// Writes the remaining audio, as far as possible.
impl Drop for SharedTrack {
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

/// Audio and file are consistent after every step, so a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
