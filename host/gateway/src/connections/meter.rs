//! Level of a stream's audio, for operators who look at it.
//!
//! It is computed only while somebody listens. The task of the connection computes it, and never
//! waits for a listener: what it cannot add at once is left out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use session::handshake::Handshake;

/// Number of levels that are kept for listeners: those of ten seconds.
const KEPT: usize = 100;

/// Level of 100 ms of audio, of all channels together. Full scale is 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Root of the mean square.
    pub rms: f32,
    /// Largest sample.
    pub peak: f32,
}

/// Encoding of one sample.
#[derive(Debug, Clone, Copy)]
enum Encoding {
    U8,
    S16,
    S24,
    S32,
    F32,
}

/// Format of audio whose level can be computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    encoding: Encoding,
    /// Samples in 100 ms, of all channels together.
    window: u64,
}

impl Format {
    /// Format of a stream; `None` if its codec is not PCM.
    pub(super) fn of(handshake: &Handshake) -> Option<Self> {
        let encoding = match handshake.codec.as_str() {
            "pcm_u8" => Encoding::U8,
            "pcm_s16le" => Encoding::S16,
            "pcm_s24le" => Encoding::S24,
            "pcm_s32le" => Encoding::S32,
            "pcm_f32le" => Encoding::F32,
            _ => return None,
        };
        let samples = u64::from(handshake.sample_rate) * u64::from(handshake.channels);
        Some(Self {
            encoding,
            window: (samples / 10).max(1),
        })
    }
}

impl Encoding {
    const fn width(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::S16 => 2,
            Self::S24 => 3,
            Self::S32 | Self::F32 => 4,
        }
    }

    /// Value of a sample, from -1 to 1.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a level needs no more than 24 bits"
    )]
    fn value(self, sample: &[u8]) -> f32 {
        match (self, sample) {
            (Self::U8, [a]) => (f32::from(*a) - 128.0) / 128.0,
            (Self::S16, [a, b]) => f32::from(i16::from_le_bytes([*a, *b])) / 32_768.0,
            (Self::S24, [a, b, c]) => i32::from_le_bytes([0, *a, *b, *c]) as f32 / 2_147_483_648.0,
            (Self::S32, [a, b, c, d]) => {
                i32::from_le_bytes([*a, *b, *c, *d]) as f32 / 2_147_483_648.0
            }
            (Self::F32, [a, b, c, d]) => {
                let value = f32::from_le_bytes([*a, *b, *c, *d]);
                if value.is_finite() {
                    value.clamp(-1.0, 1.0)
                } else {
                    0.0
                }
            }
            // Samples are cut to their width.
            _ => 0.0,
        }
    }
}

/// Meter of one stream.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Whether anybody listens, so that the others cost a stream one load.
    is_heard: AtomicBool,
    heard: Mutex<Heard>,
}

/// What the listeners hear.
#[derive(Debug, Default)]
struct Heard {
    listeners: usize,
    /// Set while there are listeners.
    windows: Option<Box<Windows>>,
}

#[derive(Debug, Default)]
struct Windows {
    /// Samples, sum of squares and peak of the window that is open.
    samples: u64,
    squares: f64,
    peak: f32,
    /// Number of windows that were closed.
    closed: u64,
    latest: VecDeque<Level>,
}

impl Meter {
    /// Adds audio that came after this many bytes.
    pub(super) fn add(&self, format: Format, before: u64, audio: &[u8]) {
        if !self.is_heard.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut heard) = self.heard.try_lock() else {
            return;
        };
        if let Some(windows) = &mut heard.windows {
            windows.add(format, before, audio);
        }
    }

    /// Adds a listener.
    pub(super) fn join(&self) {
        let mut heard = self.lock();
        heard.listeners += 1;
        heard.windows.get_or_insert_default();
        self.is_heard.store(true, Ordering::Relaxed);
    }

    /// Removes a listener.
    pub(super) fn leave(&self) {
        let mut heard = self.lock();
        heard.listeners -= 1;
        if heard.listeners == 0 {
            heard.windows = None;
            self.is_heard.store(false, Ordering::Relaxed);
        }
    }

    /// Number of levels so far, and those of them after the first `seen` that are kept.
    pub(super) fn since(&self, seen: u64) -> (u64, Vec<Level>) {
        let heard = self.lock();
        let Some(windows) = &heard.windows else {
            return (seen, Vec::new());
        };
        let unseen = usize::try_from(windows.closed.saturating_sub(seen)).unwrap_or(KEPT);
        let skipped = windows.latest.len().saturating_sub(unseen);
        let unseen = windows.latest.iter().skip(skipped);
        (windows.closed, unseen.copied().collect())
    }

    // Each change leaves it usable, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Windows {
    /// A sample that is cut in two by the ends of messages is left out.
    fn add(&mut self, format: Format, before: u64, audio: &[u8]) {
        let Format { encoding, window } = format;
        let width = encoding.width();
        let misplaced = usize::try_from(before % width as u64).unwrap_or_default();
        let first = (width - misplaced) % width;
        for sample in audio.get(first..).unwrap_or_default().chunks_exact(width) {
            let value = encoding.value(sample);
            self.samples += 1;
            self.squares += f64::from(value * value);
            self.peak = self.peak.max(value.abs());
            if self.samples == window {
                self.close();
            }
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a mean from 0 to 1"
    )]
    fn close(&mut self) {
        let rms = (self.squares / self.samples as f64).sqrt() as f32;
        if self.latest.len() == KEPT {
            self.latest.pop_front();
        }
        let peak = self.peak;
        self.latest.push_back(Level { rms, peak });
        self.closed += 1;
        (self.samples, self.squares, self.peak) = (0, 0.0, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(codec: &str) -> Option<Format> {
        let json = format!(
            r#"{{"type":"handshake","sample_rate":1000,"device_id":"d","codec":"{codec}"}}"#
        );
        Format::of(&Handshake::parse(&json).unwrap())
    }

    fn levels(codec: &str, audio: &[u8]) -> Vec<Level> {
        let meter = Meter::default();
        meter.join();
        meter.add(format(codec).unwrap(), 0, audio);
        meter.since(0).1
    }

    #[test]
    fn a_square_wave_of_half_the_scale_has_that_level_in_every_encoding() {
        for (codec, high, low) in [
            ("pcm_u8", &[192][..], &[64][..]),
            ("pcm_s16le", &[0, 0x40], &[0, 0xc0]),
            ("pcm_s24le", &[0, 0, 0x40], &[0, 0, 0xc0]),
            ("pcm_s32le", &[0, 0, 0, 0x40], &[0, 0, 0, 0xc0]),
            (
                "pcm_f32le",
                &0.5_f32.to_le_bytes(),
                &(-0.5_f32).to_le_bytes(),
            ),
        ] {
            let audio = [high, low].concat().repeat(100);
            let level = Level {
                rms: 0.5,
                peak: 0.5,
            };
            assert_eq!(levels(codec, &audio), [level, level], "{codec}");
        }
        assert!(format("opus").is_none());
    }

    #[test]
    fn a_peak_shows_however_short_it_is_and_silence_is_nothing() {
        let mut audio = [0; 400];
        audio[300..302].copy_from_slice(&i16::MIN.to_le_bytes());
        let levels = levels("pcm_s16le", &audio);
        assert_eq!((levels[0].rms, levels[0].peak), (0.0, 0.0));
        assert_eq!(levels[1].peak, 1.0);
        assert!((levels[1].rms - 0.1).abs() < 0.001, "{levels:?}");
    }

    #[test]
    fn messages_may_end_in_the_middle_of_a_sample() {
        let format = format("pcm_s16le").unwrap();
        let audio = [0, 0x40].repeat(110);
        let meter = Meter::default();
        meter.join();
        for (index, part) in audio.chunks(21).enumerate() {
            meter.add(format, 21 * index as u64, part);
        }
        let (_, levels) = meter.since(0);
        assert_eq!(levels.len(), 1);
        assert_eq!((levels[0].rms, levels[0].peak), (0.5, 0.5));
    }

    #[test]
    fn nothing_is_computed_or_kept_unless_somebody_listens() {
        let format = format("pcm_u8").unwrap();
        let meter = Meter::default();
        let second = [0; 1000];
        meter.add(format, 0, &second);
        assert_eq!(meter.since(0), (0, Vec::new()));
        meter.join();
        meter.join();
        meter.add(format, 0, &second);
        assert_eq!(meter.since(0).1.len(), 10);
        assert_eq!(meter.since(8).1.len(), 2);
        for _ in 0..100 {
            meter.add(format, 0, &second);
        }
        let (closed, kept) = meter.since(0);
        assert_eq!((closed, kept.len()), (1010, KEPT));
        meter.leave();
        assert_eq!(meter.since(1009).1.len(), 1);
        meter.leave();
        meter.add(format, 0, &second);
        assert!(meter.lock().windows.is_none());
    }

    #[test]
    fn a_listener_that_is_reading_holds_no_stream_up() {
        let format = format("pcm_u8").unwrap();
        let meter = Meter::default();
        meter.join();
        let reading = meter.lock();
        meter.add(format, 0, &[0; 1000]);
        drop(reading);
        assert_eq!(meter.since(0).0, 0);
    }
}
