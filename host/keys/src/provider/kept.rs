//! File with the latest keys of an identity provider, for a start while the provider is away.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::Current;
use base::files::private_folder;

/// File of the keys: `keys/NAME.provider.json` in the data folder.
pub(super) struct KeptFile(PathBuf);

/// Content of the file.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    /// URL that the keys are from. Keys of another one are not used.
    from: String,
    /// Time of the answer, in milliseconds since 1970.
    pub(super) fetched_ms: u64,
    pub(super) etag: Option<String>,
    /// JWK set, as it came.
    pub(super) jwks: String,
}

impl KeptFile {
    pub(super) fn of(key_set: &str, data_dir: &Path) -> Self {
        Self(
            data_dir
                .join("keys")
                .join(format!("{key_set}.provider.json")),
        )
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Reads the keys that are from this URL. `None` if there are none.
    pub(super) fn read(&self, from: &str) -> Option<Kept> {
        let text = std::fs::read(&self.0).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        (kept.from == from).then_some(kept)
    }

    /// Writes the file, whole or not at all.
    pub(super) fn write(&self, from: &str, current: &Current) -> io::Result<()> {
        let kept = Kept {
            from: from.to_owned(),
            fetched_ms: current.fetched_ms,
            etag: current.etag.clone(),
            jwks: current.text.to_string(),
        };
        let folder = self.0.parent().unwrap_or(Path::new(""));
        private_folder(folder)?;
        // `tempfile` creates files with mode 0600.
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.0)?;
        Ok(())
    }
}
