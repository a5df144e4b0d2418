//! Generated key of a key set with `generate = true`: made at the first start, and stored in the
//! data folder for its owner alone.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tempfile::NamedTempFile;

use crate::errors::KeyError;
use base::files::private_folder;
use base::secret::Secret;

/// Length of a generated key, in bytes. HS256 makes use of no more.
const LENGTH: usize = 32;

/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Key of the set `name`, from `<data_dir>/keys/<name>.key`. The key is made if there is none. Two
/// processes that start at once use the same key.
pub(super) fn load_or_make(name: &str, data_dir: &Path) -> Result<Secret, KeyError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(KeyError::new(
            "the name of a key set with a generated key becomes a file name",
            "use only letters, digits, `-` and `_` in it",
        ));
    }
    let folder = data_dir.join("keys");
    let path = folder.join(format!("{name}.key"));
    let failed = |error: io::Error| {
        KeyError::new(
            format!(
                "the generated key {} cannot be used: {error}",
                path.display()
            ),
            "make the data folder writable for the user who runs this, or choose another with --data-dir",
        )
    };
    if let Some(key) = read(&path, failed)? {
        return Ok(key);
    }
    private_folder(&folder)
        .and_then(|()| make(&folder, &path))
        .map_err(failed)?;
    read(&path, failed)?.ok_or_else(|| failed(ErrorKind::NotFound.into()))
}

/// Reads a key; `None` if there is no such file.
fn read(path: &Path, failed: impl Fn(io::Error) -> KeyError) -> Result<Option<Secret>, KeyError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(&failed)?.mode() & OTHERS != 0 {
        return Err(KeyError::new(
            format!("the generated key {} can be read by others", path.display()),
            format!(
                "run `chmod 600 {0}`, or delete it, and a new key is made",
                path.display()
            ),
        ));
    }
    // One byte more than a key and its newline shows that a file is too long.
    let mut text = String::new();
    let read = file.take(64).read_to_string(&mut text);
    let key = read
        .ok()
        .and_then(|_| URL_SAFE_NO_PAD.decode(text.trim_end()).ok());
    match key {
        Some(key) if key.len() == LENGTH => Ok(Some(Secret::new(key))),
        _ => Err(KeyError::new(
            format!("{} is not a generated key", path.display()),
            "delete it, and a new key is made; tokens made with the old one are then refused",
        )),
    }
}

/// Writes a new key to `path`, whole or not at all. A key that another process has written in the
/// meantime stays.
fn make(folder: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; LENGTH];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| io::Error::other("no random numbers"))?;
    // `tempfile` creates files with mode 0600.
    let mut file = NamedTempFile::new_in(folder)?;
    writeln!(file, "{}", URL_SAFE_NO_PAD.encode(key))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
        Ok(_) => Ok(()),
    }
}
