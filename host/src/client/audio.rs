//! Reading WAV files, from any byte on.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use hound::{Sample, SampleFormat, WavReader, WavSpec};

/// Messages in a second of audio.
const CHUNKS_PER_SECOND: u32 = 10;

/// A WAV file, read chunk by chunk.
///
/// Reading blocks the thread for the moment that a few kilobytes take, which
/// the one task of a command-line client can afford.
pub struct Audio {
    path: PathBuf,
    reader: WavReader<BufReader<File>>,
    codec: &'static str,
    /// Bytes of audio before the next chunk.
    position: u64,
    /// Bytes of its first frame that are before it.
    skip: usize,
}

impl Audio {
    /// Opens a file with PCM samples.
    ///
    /// # Errors
    /// When it cannot be read, is not a WAV file or not PCM. The message names
    /// the file.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("{shown} cannot be opened"))?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            bail!("{shown} is a folder: name a WAV file in it");
        }
        let reader = match WavReader::new(BufReader::new(file)) {
            Ok(reader) => reader,
            Err(hound::Error::Unsupported) => {
                bail!("{shown} is a WAV file, but not one of plain PCM samples: {CONVERT}")
            }
            Err(error) => bail!("{shown} is not a WAV file that can be read ({error}): {CONVERT}"),
        };
        let WavSpec {
            sample_format,
            bits_per_sample,
            ..
        } = reader.spec();
        let codec = match (sample_format, bits_per_sample) {
            (SampleFormat::Int, 8) => "pcm_u8",
            (SampleFormat::Int, 16) => "pcm_s16le",
            (SampleFormat::Int, 24) => "pcm_s24le",
            (SampleFormat::Int, 32) => "pcm_s32le",
            (SampleFormat::Float, 32) => "pcm_f32le",
            (_, bits) => bail!(
                "{shown} has samples of {bits} bits, which no codec of the protocol stands for: {CONVERT}"
            ),
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            codec,
            position: 0,
            skip: 0,
        })
    }

    /// Samples a second and channel.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.reader.spec().sample_rate
    }

    /// Interleaved channels.
    #[must_use]
    pub fn channels(&self) -> u16 {
        self.reader.spec().channels
    }

    /// The protocol's name for the kind of samples.
    #[must_use]
    pub const fn codec(&self) -> &'static str {
        self.codec
    }

    /// Bytes of audio in the whole file.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        u64::from(self.reader.len()) * u64::from(self.reader.spec().bits_per_sample / 8)
    }

    /// Bytes of a second of audio.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        let spec = self.reader.spec();
        u64::from(spec.sample_rate) * u64::from(spec.channels) * u64::from(spec.bits_per_sample / 8)
    }

    /// How long so many bytes last.
    #[must_use]
    pub fn duration_of(&self, bytes: u64) -> Duration {
        let second = self.bytes_per_second().max(1);
        let rest = bytes % second * 1_000_000_000 / second;
        Duration::from_secs(bytes / second) + Duration::from_nanos(rest)
    }

    /// Bytes of one sample of every channel.
    #[must_use]
    pub fn frame(&self) -> u64 {
        let spec = self.reader.spec();
        (u64::from(spec.channels) * u64::from(spec.bits_per_sample / 8)).max(1)
    }

    /// Bytes of audio before the next chunk.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Goes to a byte of the audio, whether or not a sample begins there.
    ///
    /// # Errors
    /// When it is past the end, or the file cannot be read there.
    pub fn seek(&mut self, position: u64) -> anyhow::Result<()> {
        let (shown, total) = (self.path.display(), self.total_bytes());
        ensure!(
            position <= total,
            "byte {position} is past the end of {shown}, which has {total} bytes of audio"
        );
        let frame = self.frame();
        let frames = u32::try_from(position / frame).context("the position")?;
        self.reader
            .seek(frames)
            .with_context(|| format!("{shown} cannot be read from byte {position} on"))?;
        self.position = position;
        self.skip = usize::try_from(position % frame).context("the position")?;
        Ok(())
    }

    /// The next tenth of a second of samples, as they stand in the file; less
    /// at its end and after a seek into a sample, and `None` after it.
    ///
    /// # Errors
    /// When the file ends before its header says, or cannot be read.
    pub fn next_chunk(&mut self) -> anyhow::Result<Option<Bytes>> {
        let spec = self.reader.spec();
        let frames = spec.sample_rate.div_ceil(CHUNKS_PER_SECOND) as usize;
        let samples = frames * usize::from(spec.channels);
        let chunk = match spec.sample_format {
            SampleFormat::Int => take::<i32>(&mut self.reader, samples),
            SampleFormat::Float => take::<f32>(&mut self.reader, samples),
        };
        let chunk =
            chunk.with_context(|| format!("{} breaks off in the middle", self.path.display()))?;
        let mut chunk = Bytes::from(chunk);
        let chunk = chunk.split_off(std::mem::take(&mut self.skip).min(chunk.len()));
        self.position += chunk.len() as u64;
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

const CONVERT: &str = "convert it with `ffmpeg -i FILE -c:a pcm_s16le OUT.wav`";

fn take<S: Sample>(
    reader: &mut WavReader<BufReader<File>>,
    samples: usize,
) -> hound::Result<Vec<u8>> {
    let bits = reader.spec().bits_per_sample;
    let mut bytes = Vec::with_capacity(samples * usize::from(bits / 8));
    for sample in reader.samples::<S>().take(samples) {
        sample?.write(&mut bytes, bits)?;
    }
    Ok(bytes)
}
