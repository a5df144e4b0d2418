//! Header of a WAV file.

use session::handshake::Handshake;

/// Length of the header, in bytes.
pub(super) const HEADER: usize = 44;

/// Maximum number of bytes of audio in one file. The header has 32 bits for the audio, 36 bytes of
/// its own and an optional pad byte.
pub(super) const MAX_DATA: u64 = u32::MAX as u64 - 36 - 1;

/// Layout of the samples in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    tag: u16,
    channels: u16,
    sample_rate: u32,
    bits: u16,
    frame: u16,
    bytes_per_second: u32,
}

/// Reason why a stream cannot be a WAV file, in words for the client.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormatError {
    #[error("codec \"{0}\" cannot be recorded as WAV")]
    Codec(String),
    #[error("{channels} channels at {sample_rate} Hz cannot be recorded as WAV")]
    Size { channels: u16, sample_rate: u32 },
}

impl Format {
    /// Layout that a handshake announces.
    ///
    /// # Errors
    /// If it is not PCM, or its numbers do not fit in the header.
    pub(super) fn of(handshake: &Handshake) -> Result<Self, FormatError> {
        let &Handshake {
            channels,
            sample_rate,
            ..
        } = handshake;
        let width = handshake.sample_width();
        if width == 0 {
            return Err(FormatError::Codec(base::text::clean(&handshake.codec, 40)));
        }
        let too_large = FormatError::Size {
            channels,
            sample_rate,
        };
        let Some(frame) = channels.checked_mul(width) else {
            return Err(too_large);
        };
        let Ok(bytes_per_second) = u32::try_from(handshake.bytes_per_second()) else {
            return Err(too_large);
        };
        Ok(Self {
            tag: if handshake.codec == "pcm_f32le" { 3 } else { 1 },
            channels,
            sample_rate,
            bits: width * 8,
            frame,
            bytes_per_second,
        })
    }

    /// Bytes of one second of audio. Never 0.
    pub(super) const fn bytes_per_second(self) -> u32 {
        self.bytes_per_second
    }

    /// Bytes of one sample of all channels. Never 0.
    pub(super) const fn frame(self) -> u64 {
        self.frame as u64
    }

    /// Bytes of audio that this header counts; `None` if it is not of this format.
    pub(super) fn counted(self, header: &[u8; HEADER]) -> Option<u64> {
        let [.., a, b, c, d] = *header;
        let data = u64::from(u32::from_le_bytes([a, b, c, d]));
        (self.header(data) == *header).then_some(data)
    }

    /// Header of a file with `data` bytes of audio.
    ///
    /// It counts only whole frames, because readers refuse a file that ends inside of a sample. The
    /// remaining bytes of an interrupted stream stay in the file behind the last frame. The RIFF
    /// size includes the byte that pads a chunk of odd length.
    pub(super) fn header(self, data: u64) -> [u8; HEADER] {
        let whole = data.min(MAX_DATA) / u64::from(self.frame) * u64::from(self.frame);
        let whole = u32::try_from(whole).unwrap_or(u32::MAX);
        let riff = 36 + whole + whole % 2;
        let mut header = [0; HEADER];
        let mut rest = header.as_mut_slice();
        for part in [
            b"RIFF".as_slice(),
            &riff.to_le_bytes(),
            b"WAVEfmt ",
            &16_u32.to_le_bytes(),
            &self.tag.to_le_bytes(),
            &self.channels.to_le_bytes(),
            &self.sample_rate.to_le_bytes(),
            &self.bytes_per_second.to_le_bytes(),
            &self.frame.to_le_bytes(),
            &self.bits.to_le_bytes(),
            b"data",
            &whole.to_le_bytes(),
        ] {
            let (field, behind) = rest.split_at_mut(part.len());
            field.copy_from_slice(part);
            rest = behind;
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::handshake;

    #[test]
    fn the_header_counts_whole_frames_and_the_pad() {
        let format = Format::of(&handshake("pcm_s24le", 48_000, 1)).expect("format");
        let header = format.header(3 * 5 + 2);
        assert_eq!(header[4..8], (36_u32 + 15 + 1).to_le_bytes());
        assert_eq!(header[40..44], 15_u32.to_le_bytes());
    }

    #[test]
    fn the_largest_file_still_fits_in_32_bits() {
        let format = Format::of(&handshake("pcm_u8", 8000, 1)).expect("format");
        let header = format.header(MAX_DATA);
        assert_eq!(header[40..44], 4_294_967_258_u32.to_le_bytes());
        assert_eq!(header[4..8], 4_294_967_294_u32.to_le_bytes());
    }

    #[test]
    fn an_independent_reader_agrees_on_every_codec() {
        for (codec, bits, kind) in [
            ("pcm_u8", 8, hound::SampleFormat::Int),
            ("pcm_s16le", 16, hound::SampleFormat::Int),
            ("pcm_s24le", 24, hound::SampleFormat::Int),
            ("pcm_s32le", 32, hound::SampleFormat::Int),
            ("pcm_f32le", 32, hound::SampleFormat::Float),
        ] {
            let format = Format::of(&handshake(codec, 44_100, 2)).expect("format");
            let header = format.header(0);
            let reader = hound::WavReader::new(header.as_slice()).expect("header");
            let expected = hound::WavSpec {
                channels: 2,
                sample_rate: 44_100,
                bits_per_sample: bits,
                sample_format: kind,
            };
            assert_eq!(reader.spec(), expected, "{codec}");
        }
    }

    #[test]
    fn what_a_header_cannot_say_is_refused_in_words() {
        let refusal = |codec, rate, channels| {
            Format::of(&handshake(codec, rate, channels))
                .expect_err("refused")
                .to_string()
        };
        assert_eq!(
            refusal("opus", 48_000, 2),
            "codec \"opus\" cannot be recorded as WAV"
        );
        assert_eq!(
            refusal("a\nb", 48_000, 2),
            "codec \"a\u{fffd}b\" cannot be recorded as WAV"
        );
        assert_eq!(
            refusal("pcm_s32le", 16_000, 20_000),
            "20000 channels at 16000 Hz cannot be recorded as WAV"
        );
        assert_eq!(
            refusal("pcm_s16le", u32::MAX, 1),
            "1 channels at 4294967295 Hz cannot be recorded as WAV"
        );
    }
}
