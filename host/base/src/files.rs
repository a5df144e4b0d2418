//! Files that people write: reading them as they are meant, and noticing that they changed.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

pub mod pem;
pub mod text;

/// What was in a file when somebody looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// SHA-256 of its bytes.
    Digest([u8; 32]),
    /// It is a pipe or a device, which gives its content once.
    Special,
    /// It could not be read.
    Unreadable(ErrorKind),
}

impl Content {
    /// What is in a file now. Blocks as files do.
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

/// Makes a folder that only its owner may look into, unless it is there. Its parents are made as
/// any other folders: what else is in them is not for this to hide. Blocks.
///
/// # Errors
/// Where it cannot be made.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Reads a file whole, and says what was in it in the same look: a change between two looks would
/// never be noticed.
pub fn read(path: &Path) -> (io::Result<Vec<u8>>, Content) {
    let bytes = std::fs::read(path);
    let content = match &bytes {
        Ok(_) if !path.is_file() => Content::Special,
        Ok(bytes) => Content::Digest(Sha256::digest(bytes).into()),
        Err(error) => Content::Unreadable(error.kind()),
    };
    (bytes, content)
}
