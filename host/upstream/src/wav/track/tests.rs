//! Recordings that another process goes on with.

use super::*;
use crate::testing::handshake;

const NAME: &str = "m1/2026-11-22T20-57-33Z-mic-9f1e6a1b7c5f.wav";

/// A recording as a killed process leaves it: nothing of it is dropped.
fn killed(root: &Path, format: Format, audio: &[u8]) -> PathBuf {
    let path = root.join(NAME);
    let mut track = Track::create(root, path.clone(), format).expect("track");
    track.write(audio).expect("written");
    std::mem::forget(track);
    path
}

fn format(codec: &str, channels: u16) -> Format {
    Format::of(&handshake(codec, 16_000, channels)).expect("format")
}

fn reopen(root: &Path, format: Format) -> Result<Track, RecordingError> {
    Track::reopen(root, Path::new(NAME), format)
}

#[test]
fn a_recording_goes_on_behind_its_whole_samples() {
    for (codec, channels, written, whole) in [
        ("pcm_s16le", 1, 6, 6),
        ("pcm_s16le", 1, 7, 6),
        ("pcm_s16le", 2, 7, 4),
        ("pcm_s24le", 1, 9, 9),
        ("pcm_s24le", 1, 8, 6),
        ("pcm_u8", 1, 5, 5),
    ] {
        let root = tempfile::tempdir().expect("folder");
        let format = format(codec, channels);
        let path = killed(root.path(), format, &[7; 16][..written]);
        let mut track = reopen(root.path(), format).expect("reopened");
        assert_eq!(track.written(), whole, "{codec} with {written} bytes");
        track.write(&[9; 12]).expect("written");
        drop(track);
        let file = fs::read(path).expect("file");
        let whole = usize::try_from(whole).expect("a size");
        let expected = [&[7; 16][..whole], &[9; 12]].concat();
        assert_eq!(file[HEADER..][..expected.len()], expected, "{codec}");
        assert_eq!(
            file[..HEADER],
            format.header(expected.len() as u64),
            "{codec}"
        );
    }
}

#[test]
fn what_only_the_header_has_after_a_loss_of_power_is_not_there() {
    let root = tempfile::tempdir().expect("folder");
    let format = format("pcm_s16le", 1);
    let path = killed(root.path(), format, &[7; 1000]);
    let file = OpenOptions::new().write(true).open(&path).expect("file");
    file.set_len(HEADER as u64 + 301).expect("shorter");
    let track = reopen(root.path(), format).expect("reopened");
    assert_eq!(track.written(), 300);
    assert_eq!(fs::read(path).expect("file")[..HEADER], format.header(300));
}

#[test]
fn nothing_but_the_stream_s_own_recording_is_reopened() {
    let root = tempfile::tempdir().expect("folder");
    assert!(reopen(root.path(), format("pcm_s16le", 1)).is_err());
    let path = killed(root.path(), format("pcm_s16le", 1), &[7; 1000]);
    assert!(reopen(root.path(), format("pcm_s16le", 2)).is_err());
    let outside = Path::new("../m1/2026-11-22T20-57-33Z-mic-9f1e6a1b7c5f.wav");
    let inner = root.path().join("inner");
    fs::create_dir(&inner).expect("folder");
    assert!(Track::reopen(&inner, outside, format("pcm_s16le", 1)).is_err());
    fs::write(&path, "RIFF").expect("file");
    assert!(reopen(root.path(), format("pcm_s16le", 1)).is_err());
}
