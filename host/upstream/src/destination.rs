//! Destination of one stream, for the operator: its backend, its recording, and what is safe.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Destination of one stream. Its link writes it, and operators read it. It stays with the stream
/// when the client resumes over another connection.
#[derive(Debug, Default)]
pub struct Destination {
    places: Mutex<Places>,
    /// Bytes of audio that the client was told are safe.
    kept: AtomicU64,
}

/// Whether the backend of an upstream is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The backend is there.
    Here,
    /// The backend is away, and the stream waits for it.
    Away,
}

/// Backend and recording of a stream.
#[derive(Debug, Default, Clone)]
pub struct Places {
    /// Backend, and whether it is there; `None` if the stream has none.
    pub backend: Option<(Option<SocketAddr>, Presence)>,
    /// File of the recording.
    pub recording: Option<Arc<Path>>,
}

impl Destination {
    /// The stream is with the backend at this address.
    pub(crate) fn is_with(&self, address: Option<SocketAddr>) {
        self.lock().backend = Some((address, Presence::Here));
    }

    /// The stream has lost its backend, or never had it.
    pub(crate) fn is_without_backend(&self) {
        let mut places = self.lock();
        let address = places.backend.and_then(|(address, _)| address);
        places.backend = Some((address, Presence::Away));
    }

    /// The stream is recorded in this file.
    pub(crate) fn is_recorded_in(&self, file: Arc<Path>) {
        self.lock().recording = Some(file);
    }

    /// The client was told that this many bytes of audio are safe.
    pub fn told_kept(&self, bytes: u64) {
        self.kept.store(bytes, Ordering::Relaxed);
    }

    /// Bytes of audio that the client was told are safe.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    /// Current backend and recording.
    #[must_use]
    pub fn places(&self) -> Places {
        self.lock().clone()
    }

    // Each change is one assignment, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Address of the backend, if it is known.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.backend.and_then(|(address, _)| address)
    }
}
