//! Files that people write: reading them, and noticing changes.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

pub mod pem;
pub mod text;

/// Content of a file at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Regular file, by the SHA-256 of its bytes.
    Digest([u8; 32]),
    /// Pipe or device, which can be read only once.
    Special,
    /// Unreadable file, with the kind of its error.
    Unreadable(ErrorKind),
}

impl Content {
    /// Reads the content of a file now. Blocks.
    #[must_use]
    pub fn look(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Err(error) => return Self::Unreadable(error.kind()),
            Ok(found) if !found.is_file() && !found.is_dir() => return Self::Special,
            Ok(_) => {}
        }
        let digest = File::open(path).and_then(|mut file| {
            let mut digest = Sha256::new();
            io::copy(&mut file, &mut digest)?;
            Ok(digest.finalize().into())
        });
        match digest {
            Ok(digest) => Self::Digest(digest),
            Err(error) => Self::Unreadable(error.kind()),
        }
    }
}

/// Creates a folder that only its owner can enter, unless it exists. Missing parents get the usual
/// permissions, because they may hold other files. Blocks.
///
/// # Errors
/// If the folder cannot be created.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Reads a whole file, and returns its [`Content`] from the same read. A second read could hide a
/// change between the two.
pub fn read(path: &Path) -> (io::Result<Vec<u8>>, Content) {
    let bytes = std::fs::read(path);
    let content = match &bytes {
        Ok(_) if !path.is_file() => Content::Special,
        Ok(bytes) => Content::Digest(Sha256::digest(bytes).into()),
        Err(error) => Content::Unreadable(error.kind()),
    };
    (bytes, content)
}
