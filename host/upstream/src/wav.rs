//! The embedded default: each stream becomes one WAV file, sample for sample
//! what the client sent.
//!
//! A file is found at `<folder>/<layout>/<time>-<source>-<session>.wav`, for
//! example `recordings/acme/m1/2026-11-22T20-57-33Z-mic-9f1e6a1b7c5f.wav`.
//!
//! Audio is gathered in memory for at most half a second and written in the
//! background, samples first and then the header that counts them. So the file
//! is whole after every write, a process that is killed loses less than a second
//! of audio, and no repair is ever needed. A stream that brought no audio
//! leaves no file, so that nobody takes an empty file for a recording.
//!
//! For a stream that wants receipts every write waits for the disk as well, and
//! what is acknowledged has survived whatever happens to this machine's power.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use futures_util::future::{BoxFuture, FutureExt};
use jiff::Timestamp;

use self::failure::Failure;
use self::format::Format;
use self::layout::Layout;
use self::recording::Recording;
use self::retention::Bounds;
use self::shared::Shared;
use self::track::Track;
use super::space::{self, Watermark};
use crate::link::{Link, OpenError, StreamInfo, Upstream};
use base::blocking::{BlockingPool, Kept};
use base::metrics;

mod failure;
mod format;
pub mod layout;
mod live;
mod name;
mod recording;
pub mod retention;
mod shared;
mod track;

#[cfg(test)]
mod tests;

/// Where recordings go, and how long they stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recordings {
    /// The folder of all of them, relative to the data folder.
    pub folder: PathBuf,
    /// The folders below it.
    pub layout: Layout,
    /// What is kept of them.
    pub bounds: Bounds,
}

/// Records streams under one folder.
#[derive(Clone)]
pub struct Wav {
    folder: PathBuf,
    layout: Layout,
    /// The threads that wait for the folder's disk.
    pool: &'static BlockingPool,
    /// The upstream whose free space is told, and how much of that is kept.
    watched: Option<(Arc<str>, Watermark)>,
}

impl Wav {
    /// Records under `folder`, which must exist when a stream opens: a folder
    /// that went away with its disk is not made anew on another.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        let pool = BlockingPool::of_recordings(&folder);
        Self {
            folder,
            layout: Layout::default(),
            pool,
            watched: None,
        }
    }

    /// Puts each recording into folders of this layout.
    #[must_use]
    pub fn laid_out(self, layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
            ..self
        }
    }

    /// Begins no recording where less than that is free, and counts for an upstream what is.
    #[must_use]
    pub fn watched(self, upstream: &str, min_free: Watermark) -> Self {
        Self {
            watched: Some((upstream.into(), min_free)),
            ..self
        }
    }

    /// Creates the folder where it is missing, for its owner and group only.
    pub fn create_folder(&self) -> io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&self.folder)?;
        self.free_space().map(drop)
    }

    /// Bytes that are free, where there is somebody who wants to know and a disk that says so.
    /// Blocks.
    fn free_space(&self) -> io::Result<Option<u64>> {
        let Some((upstream, _)) = &self.watched else {
            return Ok(None);
        };
        let free = space::free(&self.folder)?;
        if let Some(free) = free {
            metrics::disk_free(upstream, free);
        }
        Ok(free)
    }

    /// Whether there is room for one more recording. Blocks.
    fn has_room(&self) -> Result<(), Failure> {
        let free = self
            .free_space()
            .map_err(|cause| Failure::disk(&self.folder.as_path().into(), cause))?;
        let watermark = self.watched.as_ref().map(|(_, min_free)| *min_free);
        Ok(watermark.unwrap_or_default().check(&self.folder, free)?)
    }

    async fn record(&self, stream: StreamInfo) -> Result<Box<dyn Link>, OpenError> {
        let Some(handshake) = &stream.handshake else {
            return Err(OpenError::unavailable(
                "recording is not possible without a handshake",
                anyhow!(
                    "route \"{}\" has no handshake to take the sample rate and codec from: \
                     set handshake = \"ingest.v1\", or give it another upstream than wav",
                    stream.route
                ),
            ));
        };
        let format = Format::of(handshake).map_err(|error| {
            OpenError::unavailable(
                error.to_string(),
                anyhow::Error::new(error).context("the handshake's format"),
            )
        })?;
        let began = Timestamp::now();
        let folder = self.layout.folder(&self.folder, &stream, began);
        let path = folder.join(name::file(&stream, began));

        let (pool, wav) = (self.pool, self.clone());
        // Where this future is dropped, the file is created all the same, and
        // removed again as it is dropped with the task's result.
        let create = move || {
            wav.has_room()?;
            let track = Track::create(&wav.folder, path, format)?;
            Ok(Kept::new(pool, Shared::new(track)))
        };
        let file = pool
            .open(create)
            .map_err(|busy| {
                OpenError::unavailable("recording is not possible: the disk hangs", busy)
            })?
            .await
            .context("the thread that creates the file panicked")
            .map_err(|detail| OpenError::unavailable("recording is not possible", detail))?
            .map_err(Failure::open_error)?;
        Ok(Box::new(Recording::new(file, pool, stream.receipts)))
    }
}

impl Upstream for Wav {
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        self.record(stream).boxed()
    }

    fn descriptors(&self) -> u32 {
        1
    }
}
