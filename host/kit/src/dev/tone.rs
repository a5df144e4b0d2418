//! A second of a tone, to stream at a policy.

use std::f32::consts::TAU;
use std::path::Path;

use anyhow::Context as _;

/// Name of the file.
const FILE: &str = "tone.wav";
const RATE: u16 = 16_000;
/// Bytes of the samples: one second of 16 bits each.
const BYTES: u32 = 2 * RATE as u32;

/// Writes the file, and returns its name.
pub(super) fn write(folder: &Path) -> anyhow::Result<&'static str> {
    let file = folder.join(FILE);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&file, wav()))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(FILE)
}

/// PCM in one channel, with the header of a WAV file.
fn wav() -> Vec<u8> {
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + BYTES).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    for word in [1_u16, 1] {
        wav.extend(word.to_le_bytes());
    }
    wav.extend(u32::from(RATE).to_le_bytes());
    wav.extend(BYTES.to_le_bytes());
    for word in [2_u16, 16] {
        wav.extend(word.to_le_bytes());
    }
    wav.extend(b"data");
    wav.extend(BYTES.to_le_bytes());
    for sample in 0..RATE {
        let turn = f32::from(sample) / f32::from(RATE) * 440.0;
        #[expect(clippy::cast_possible_truncation, reason = "it is at most 8000")]
        let height = ((turn * TAU).sin() * 8000.0) as i16;
        wav.extend(height.to_le_bytes());
    }
    wav
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_long_as_its_header_says() {
        assert_eq!(wav().len(), 44 + BYTES as usize);
    }
}
