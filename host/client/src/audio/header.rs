//! Header of a WAV file: the format of the samples, and their number.
//!
//! The chunks are parsed here, and not by a crate: hound refuses chunks of odd size and the open
//! lengths of a pipe, symphonia does not support RF64, and bwavfile requires seeking.

use std::io::{self, ErrorKind, Read};

/// Lengths that writers use if they cannot return to write the real one: ffmpeg uses the largest
/// number, sox nearly the largest signed one in whole frames.
const LEFT_OPEN: [std::ops::RangeInclusive<u32>; 2] =
    [0x7ffe_0000..=0x7fff_ffff, 0xffff_0000..=0xffff_ffff];
/// Maximum number of bytes of the format chunk that are read.
const FORMAT: usize = 40;
/// `WAVE_FORMAT_EXTENSIBLE`: the real format follows the usual fields.
const EXTENSIBLE: u16 = 0xfffe;
/// End of every extended format that stands for a usual one.
const USUAL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];

/// Parsed header. The samples follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WavHeader {
    /// Codec of the samples, by its name in the protocol.
    pub codec: &'static str,
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Number of interleaved channels.
    pub channels: u16,
    /// Size of one sample of every channel, in bytes.
    pub frame: u16,
    /// Length of the audio.
    pub length: Length,
}

/// Length of the audio, as the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Number of bytes; what follows them is no audio.
    Known(u64),
    /// Everything until the end, because the writer did not know the length.
    Open,
}

/// Reason why a file cannot be streamed. The text completes a sentence that begins with the file's
/// name.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The file does not begin as a WAV file.
    #[error("is not a WAV file")]
    NotWav,
    /// The file ends after its first bytes.
    #[error("is a WAV file that breaks off before its audio")]
    CutOff,
    /// The file has the other byte order.
    #[error("is a big-endian WAV file (RIFX), which is not streamed")]
    BigEndian,
    /// The samples are compressed or of another kind.
    #[error("is a WAV file, but not one of plain PCM samples: {0}")]
    NotPcm(String),
    /// The protocol has no codec for these samples.
    #[error("has samples of {0} bits, for which the protocol has no codec")]
    Bits(u16),
    /// The header contradicts itself.
    #[error("is a WAV file with an invalid header: {0}")]
    Wrong(&'static str),
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
}

impl From<io::Error> for HeaderError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::CutOff,
            _ => Self::Read(error),
        }
    }
}

/// Reads up to the first sample.
///
/// # Errors
/// [`HeaderError`]
pub fn read(reader: &mut impl Read) -> Result<WavHeader, HeaderError> {
    let mut reader = CountingReader { reader, at: 0 };
    let mut start = [0; 12];
    match reader.read_exact(&mut start) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(HeaderError::NotWav),
        read => read?,
    }
    let (id, riff_size, form) = (&start[..4], u32_at(&start, 4), &start[8..]);
    match (id, form) {
        (b"RIFF" | b"RF64" | b"BW64", b"WAVE") => {}
        (b"RIFX", b"WAVE") => return Err(HeaderError::BigEndian),
        _ => return Err(HeaderError::NotWav),
    }
    let mut format = None;
    let mut long_length = None;
    loop {
        let (id, size) = reader.chunk()?;
        match &id {
            b"data" => {
                let format =
                    format.ok_or(HeaderError::Wrong("its audio comes before its format"))?;
                let length = match long_length {
                    Some(length) if size == u32::MAX => long(length),
                    _ => short(size, riff_size, reader.at),
                };
                return Ok(WavHeader { length, ..format });
            }
            b"fmt " => format = Some(read_format(&mut reader, size)?),
            b"ds64" => {
                let mut sizes = [0; 16];
                let there = (size as usize).min(sizes.len());
                reader.read_exact(&mut sizes[..there])?;
                long_length = Some(u64_at(&sizes, 8));
                reader.skip(u64::from(size) - there as u64)?;
            }
            _ => reader.skip(size.into())?,
        }
    }
}

/// Length in RIFF. Zero means that it was never filled in, unless the length of the whole file
/// shows that other chunks follow.
fn short(size: u32, riff_size: u32, data_begins: u64) -> Length {
    let nothing_follows = riff_size == u32::MAX || u64::from(riff_size) + 8 <= data_begins;
    if (size == 0 && nothing_follows) || LEFT_OPEN.iter().any(|open| open.contains(&size)) {
        Length::Open
    } else {
        Length::Known(size.into())
    }
}

/// Length in RF64.
fn long(length: u64) -> Length {
    match length {
        0 | u64::MAX => Length::Open,
        length => Length::Known(length),
    }
}

fn read_format(
    reader: &mut CountingReader<impl Read>,
    size: u32,
) -> Result<WavHeader, HeaderError> {
    let mut format = [0; FORMAT];
    let there = (size as usize).min(FORMAT);
    reader.read_exact(&mut format[..there])?;
    reader.skip(u64::from(size) - there as u64)?;
    if there < 16 {
        return Err(HeaderError::Wrong("its format is too short"));
    }
    let [tag, channels, align, bits] = [0, 2, 12, 14].map(|at| u16_at(&format, at));
    let sample_rate = u32_at(&format, 4);
    let tag = match tag {
        EXTENSIBLE if there < FORMAT => {
            return Err(HeaderError::Wrong("its extended format is too short"));
        }
        EXTENSIBLE if format[26..] != USUAL => {
            return Err(HeaderError::NotPcm(
                "its format is a vendor's own".to_owned(),
            ));
        }
        EXTENSIBLE => u16_at(&format, 24),
        tag => tag,
    };
    if channels == 0 || sample_rate == 0 {
        return Err(HeaderError::Wrong("it has no channels, or no sample rate"));
    }
    let codec = match (tag, bits) {
        (1, 1..=8) => "pcm_u8",
        (1, 9..=16) => "pcm_s16le",
        (1, 17..=24) => "pcm_s24le",
        (1, 25..=32) => "pcm_s32le",
        (3, 32) => "pcm_f32le",
        (1 | 3, bits) => return Err(HeaderError::Bits(bits)),
        (tag, _) => return Err(HeaderError::NotPcm(named(tag))),
    };
    let frame = u32::from(channels) * u32::from(bits.div_ceil(8));
    if u32::from(align) != frame {
        return Err(HeaderError::Wrong(
            "its samples and channels do not come to the size that it names",
        ));
    }
    Ok(WavHeader {
        codec,
        sample_rate,
        channels,
        frame: align,
        length: Length::Open,
    })
}

fn named(tag: u16) -> String {
    let name = match tag {
        2 | 0x11 => "ADPCM",
        6 => "A-law",
        7 => "mu-law",
        0x55 => "MP3",
        _ => return format!("its samples are of format {tag:#06x}"),
    };
    format!("its samples are {name}")
}

/// Reader that counts its bytes.
struct CountingReader<R> {
    reader: R,
    at: u64,
}

impl<R: Read> CountingReader<R> {
    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.reader.read_exact(buffer)?;
        self.at += buffer.len() as u64;
        Ok(())
    }

    /// Name and size of the next chunk. A padding byte follows a chunk of odd size; some writers
    /// forget it.
    fn chunk(&mut self) -> io::Result<([u8; 4], u32)> {
        let mut head = [0; 8];
        self.read_exact(&mut head)?;
        if head[0] == 0 {
            head.rotate_left(1);
            self.read_exact(&mut head[7..])?;
        }
        let [a, b, c, d, ..] = head;
        Ok(([a, b, c, d], u32_at(&head, 4)))
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.reader).take(bytes), &mut io::sink())?;
        self.at += skipped;
        if skipped < bytes {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
