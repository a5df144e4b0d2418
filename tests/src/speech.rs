//! Real speech, and the recordings of it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Recording: mono, 16 bit, with the plain header of 44 bytes.
#[derive(Debug, Clone)]
pub struct Clip {
    /// Path of the file.
    pub path: PathBuf,
    /// Samples per second.
    pub rate: u32,
    /// Samples, as they are sent.
    pub pcm: Vec<u8>,
}

/// Length of the header, in bytes.
pub const HEADER: usize = 44;

impl Clip {
    fn read(path: PathBuf) -> Self {
        let (spec, pcm) = read_wav(&path);
        assert_eq!(
            (spec.channels, spec.bits_per_sample),
            (1, 16),
            "{}",
            path.display()
        );
        assert_eq!(
            path.metadata().unwrap().len(),
            (HEADER + pcm.len()) as u64,
            "{}",
            path.display()
        );
        Self {
            path,
            rate: spec.sample_rate,
            pcm,
        }
    }
}

/// Format and sample bytes of a WAV file.
///
/// # Panics
/// If `hound` cannot read it, or it is shorter than its header says.
pub fn read_wav(path: &Path) -> (hound::WavSpec, Vec<u8>) {
    let file = BufReader::new(
        File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    );
    let wav =
        hound::WavReader::new(file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let spec = wav.spec();
    let bytes = wav.len() as usize * usize::from(spec.bits_per_sample / 8);
    let mut pcm = vec![0; bytes];
    wav.into_inner()
        .read_exact(&mut pcm)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (spec, pcm)
}

/// All fetched speech of a rate, in kilohertz.
///
/// # Panics
/// If there is none.
pub fn clips(kilohertz: u32) -> Vec<Clip> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!(".speech/{kilohertz}k"));
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!(
            "no speech in {}: {error}: run `make setup` first",
            folder.display()
        )
    });
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(
        !paths.is_empty(),
        "no speech in {}: remove it and run `make setup`",
        folder.display()
    );
    paths.into_iter().map(Clip::read).collect()
}

/// Clip of real speech at 16 kHz, of a few seconds.
pub fn clip() -> Clip {
    clips(16).swap_remove(0)
}

/// Longest clip at 16 kHz.
pub fn long_clip() -> Clip {
    clips(16)
        .into_iter()
        .max_by_key(|clip| clip.pcm.len())
        .expect("clips() is never empty")
}

/// Sample in the source tree.
pub fn sample() -> Clip {
    Clip::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("speech/sample.wav"))
}
