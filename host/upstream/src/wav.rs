//! Upstream that records: each stream becomes one WAV file with exactly the client's samples.
//!
//! A file has the path `<folder>/<layout>/<time>-<source>-<session>.wav`, for
//! example `recordings/acme/m1/2026-11-22T20-57-33Z-mic-9f1e6a1b7c5f.wav`.
//!
//! Audio is gathered in memory for at most half a second, and then written in the background,
//! samples first and then the header that counts them. So the file is valid after every write, a
//! killed process loses less than a second of audio, and no file ever needs repair. A stream
//! without audio leaves no file, because an empty file could be taken for a recording.
//!
//! If the client wants acks, every write also waits for the disk. Acknowledged audio survives a
//! loss of power.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use futures_util::future::{BoxFuture, FutureExt};
use jiff::Timestamp;

use self::failure::RecordingError;
use self::format::Format;
use self::layout::Layout;
use self::recording::RecordingLink;
use self::retention::RetentionLimits;
use self::shared::SharedTrack;
use self::track::Track;
use super::space::{self, Watermark};
use crate::link::{Link, OpenError, Place, Reopened, StreamInfo, Upstream};
use base::blocking::{BlockingPool, Kept};
use base::metrics;

mod failure;
mod folders;
mod format;
pub mod layout;
mod live;
mod name;
mod recording;
pub mod retention;
mod shared;
pub mod stored;
mod track;

#[cfg(test)]
mod tests;

/// Folder of recordings, and how long they stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recordings {
    /// Folder of the recordings, relative to the data folder.
    pub folder: PathBuf,
    /// Folders below it.
    pub layout: Layout,
    /// Limits on the age and size of the recordings.
    pub bounds: RetentionLimits,
}

/// Upstream that records streams in one folder.
#[derive(Clone)]
pub struct Wav {
    folder: PathBuf,
    layout: Layout,
    /// Threads that wait for the folder's disk.
    pool: &'static BlockingPool,
    /// Upstream whose free space is reported in metrics, and the space that stays free.
    watched: Option<(Arc<str>, Watermark)>,
}

impl Wav {
    /// Records under `folder`. It must exist when a stream opens: a folder that vanished with its
    /// disk must not be created on another disk.
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

    /// Sets the layout of the folders.
    #[must_use]
    pub fn laid_out(self, layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
            ..self
        }
    }

    /// Sets the free space that is required to begin a recording, and reports free space for an
    /// upstream.
    #[must_use]
    pub fn watched(self, upstream: &str, min_free: Watermark) -> Self {
        Self {
            watched: Some((upstream.into(), min_free)),
            ..self
        }
    }

    /// Creates the folder if it is missing, for its owner and group only.
    pub fn create_folder(&self) -> io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(&self.folder)?;
        self.free_space().map(drop)
    }

    /// Free bytes; `None` if nothing needs them or the disk does not report them. Blocks.
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

    /// Checks that the disk has space for one more recording. Blocks.
    fn has_room(&self) -> Result<(), RecordingError> {
        let free = self
            .free_space()
            .map_err(|cause| RecordingError::disk(&self.folder.as_path().into(), cause))?;
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
        // If this future is dropped, the file is still created, and removed again when the result
        // of the task is dropped.
        let create = move || {
            wav.has_room()?;
            let track = Track::create(&wav.folder, path, format)?;
            if let Some((upstream, _)) = &wav.watched {
                metrics::recording_begins(upstream);
            }
            Ok(Kept::new(pool, SharedTrack::new(track)))
        };
        let file = pool
            .open(create)
            .map_err(|busy| {
                OpenError::unavailable("recording is not possible: the disk hangs", busy)
            })?
            .await
            .context("the thread that creates the file panicked")
            .map_err(|detail| OpenError::unavailable("recording is not possible", detail))?
            .map_err(RecordingError::open_error)?;
        stream.destination.is_recorded_in(Arc::clone(file.path()));
        let link = RecordingLink::new(file, 0, pool, stream.receipts);
        Ok(Box::new(link))
    }

    async fn go_on(&self, stream: StreamInfo, place: PathBuf) -> Result<Reopened, OpenError> {
        let gone = |detail: anyhow::Error| OpenError::unavailable("the recording is gone", detail);
        let handshake = stream.handshake.as_ref();
        let handshake = handshake.ok_or_else(|| gone(anyhow!("the stream has no handshake")))?;
        let format = Format::of(handshake).map_err(|error| gone(error.into()))?;
        let (pool, folder) = (self.pool, self.folder.clone());
        let reopen = move || {
            let track = Track::reopen(&folder, &place, format)?;
            let bytes = track.written();
            Ok((Kept::new(pool, SharedTrack::new(track)), bytes))
        };
        let reopened = pool.run(reopen).await.map_err(|error| gone(error.into()))?;
        let (file, bytes) = reopened.map_err(|failure: RecordingError| gone(failure.into()))?;
        stream.destination.is_recorded_in(Arc::clone(file.path()));
        let link = Box::new(RecordingLink::new(file, bytes, pool, stream.receipts));
        Ok(Reopened { link, bytes })
    }
}

impl Upstream for Wav {
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        self.record(stream).boxed()
    }

    fn reopen(
        &self,
        stream: StreamInfo,
        place: Place,
    ) -> BoxFuture<'_, Result<Reopened, OpenError>> {
        match place {
            Place::Recording(place) => self.go_on(stream, place).boxed(),
            Place::Chain { .. } => {
                let detail = anyhow!("it was kept in NATS, and the upstream is now a recording");
                let gone = OpenError::unavailable("the recording is gone", detail);
                std::future::ready(Err(gone)).boxed()
            }
        }
    }

    fn check(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        let wav = self.clone();
        let checking = self.pool.run(move || wav.has_room());
        async move { Ok(checking.await??) }.boxed()
    }

    fn descriptors(&self) -> u32 {
        1
    }
}
