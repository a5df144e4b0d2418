//! Reader of WAV files and pipes, in chunks and from any byte.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Read, Seek as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;

mod header;
mod source;

use header::{HeaderError, Length, WavHeader};
use source::AudioSource;

/// Number of messages per second of audio.
const CHUNKS_PER_SECOND: u32 = 10;
/// Maximum size of a message, in bytes. Gateways limit it (256 KiB by default).
const MAX_CHUNK: u64 = 128 * 1024;
/// File name that means standard input.
const STANDARD_INPUT: &str = "-";
const CONVERT: &str = "convert it with `ffmpeg -i FILE -c:a pcm_s16le OUT.wav`";

/// Recording, read in chunks.
///
/// Reading a file blocks the thread for a moment, which is fine for the only task of a command-line
/// client. Waiting for a pipe does not block it.
pub struct Audio {
    name: String,
    header: WavHeader,
    source: AudioSource,
    /// Position of the next chunk, in bytes of audio.
    position: u64,
}

impl Audio {
    /// Opens a file with PCM samples, or standard input if the path is `-`. Waits for the header of
    /// a pipe.
    ///
    /// # Errors
    /// If the file cannot be read, is no WAV file, or has no PCM samples. The message names the
    /// file.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new(STANDARD_INPUT) {
            let input = io::stdin();
            ensure!(
                !input.is_terminal(),
                "standard input is a terminal: send a WAV file into it, with `<` or a pipe"
            );
            return Self::of_pipe("standard input".to_owned(), input);
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("{name} cannot be opened"))?;
        let metadata = file
            .metadata()
            .with_context(|| format!("{name} cannot be read"))?;
        if metadata.is_dir() {
            bail!("{name} is a folder: name a WAV file in it");
        }
        if !metadata.is_file() {
            return Self::of_pipe(name, file);
        }
        let mut reader = BufReader::new(file);
        let header = header::read(&mut reader).map_err(|error| refused(&name, error))?;
        let begins = reader
            .stream_position()
            .with_context(|| format!("{name} cannot be read"))?;
        Ok(Self {
            name,
            header,
            source: AudioSource::File(reader.into_inner(), begins),
            position: 0,
        })
    }

    pub(super) fn of_pipe(
        name: String,
        reader: impl Read + Send + 'static,
    ) -> anyhow::Result<Self> {
        let mut reader = BufReader::new(reader);
        let header = header::read(&mut reader).map_err(|error| refused(&name, error))?;
        Ok(Self {
            name,
            header,
            source: AudioSource::pipe(reader)
                .context("the thread that reads the pipe could not be started")?,
            position: 0,
        })
    }

    /// Samples per second and channel.
    #[must_use]
    pub const fn sample_rate(&self) -> u32 {
        self.header.sample_rate
    }

    /// Number of interleaved channels.
    #[must_use]
    pub const fn channels(&self) -> u16 {
        self.header.channels
    }

    /// Codec of the samples, by its name in the protocol.
    #[must_use]
    pub const fn codec(&self) -> &'static str {
        self.header.codec
    }

    /// Length of the audio in bytes, in whole frames; `None` while it is unknown.
    #[must_use]
    pub(crate) fn total_bytes(&self) -> Option<u64> {
        let bytes = match self.header.length {
            Length::Known(bytes) => bytes,
            Length::Open => self.source.length()?,
        };
        Some(bytes - bytes % self.frame())
    }

    /// Bytes of one second of audio.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        u64::from(self.header.sample_rate) * self.frame()
    }

    /// Duration of this many bytes.
    #[must_use]
    pub fn duration_of(&self, bytes: u64) -> Duration {
        let second = self.bytes_per_second().max(1);
        // 128 bits are enough for 2^32 channels times samples per second times 10^9.
        let rest = u128::from(bytes % second) * 1_000_000_000 / u128::from(second);
        Duration::from_secs(bytes / second) + Duration::from_nanos(u64::try_from(rest).unwrap_or(0))
    }

    /// Size of one sample of every channel, in bytes.
    #[must_use]
    pub fn frame(&self) -> u64 {
        u64::from(self.header.frame).max(1)
    }

    /// Position of the next chunk, in bytes of audio.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Discards the audio before this byte, which will not be sent again.
    pub fn forget(&mut self, before: u64) {
        // A new stream begins with a whole frame.
        self.source.forget(before.saturating_sub(self.frame()));
    }

    /// Stops keeping audio, because nothing will be sent again.
    pub(crate) fn keep_nothing(&mut self) {
        self.source.keep_nothing();
    }

    /// Seeks to a byte of the audio, at which no sample needs to begin.
    ///
    /// # Errors
    /// If the byte is past the end, or not available any more.
    pub(crate) fn seek(&mut self, position: u64) -> anyhow::Result<()> {
        let name = &self.name;
        if let Some(total) = self.total_bytes() {
            ensure!(
                position <= total,
                "byte {position} is past the end of {name}, which has {total} bytes of audio"
            );
        }
        ensure!(
            self.source.has(position),
            "{name} cannot be read from byte {position} on: it is a pipe, and that byte is not kept"
        );
        self.position = position;
        Ok(())
    }

    /// Next tenth of a second of samples, as they are in the file. It is shorter at the end and
    /// after a seek into a sample. `None` after the end.
    ///
    /// # Errors
    /// If the file is shorter than its header says, or cannot be read.
    pub(crate) async fn next_chunk(&mut self) -> anyhow::Result<Option<Bytes>> {
        let frames = self.header.sample_rate.div_ceil(CHUNKS_PER_SECOND);
        let begun = self.position % self.frame();
        let most = (MAX_CHUNK / self.frame()).max(1);
        let wanted = u64::from(frames).min(most) * self.frame() - begun;
        let left = match self.header.length {
            Length::Known(_) => self.total_bytes().unwrap_or_default() - self.position,
            Length::Open => u64::MAX,
        };
        let count = usize::try_from(wanted.min(left)).context("a chunk is too large")?;
        let name = &self.name;
        let bytes = self.source.bytes(self.position, count).await;
        let mut bytes = bytes.with_context(|| format!("{name} cannot be read"))?;
        if bytes.len() < count {
            ensure!(
                self.header.length == Length::Open,
                "{name} breaks off in the middle: its head says that there is more audio"
            );
            // The last frame may be incomplete.
            let whole = (begun + bytes.len() as u64) / self.frame() * self.frame();
            bytes.truncate(usize::try_from(whole.saturating_sub(begun)).unwrap_or(0));
        }
        self.position += bytes.len() as u64;
        Ok((!bytes.is_empty()).then_some(bytes))
    }
}

fn refused(name: &str, error: HeaderError) -> anyhow::Error {
    match error {
        HeaderError::Read(_) => anyhow!("{name} {error}"),
        error => anyhow!("{name} {error}: {CONVERT}"),
    }
}
