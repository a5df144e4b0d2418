//! WAV file that is valid after every write.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::failure::RecordingError;
use super::folders::{find, folders, remove_folders};
use super::format::{Format, HEADER};
use super::live::LiveRecording;

/// Maximum number of attempts to create a file. Its folders may vanish between the steps, because
/// the last recording in them was empty or too old.
pub(super) const ATTEMPTS: u32 = 100;

/// File, and the position up to which it is written.
#[derive(Debug)]
pub(super) struct Track {
    file: File,
    path: Arc<Path>,
    format: Format,
    written: u64,
    failure: Option<RecordingError>,
    /// Whether the disk has the name of the file too.
    named: bool,
    /// Folder of all recordings, which is never created or removed.
    root: PathBuf,
    /// Dropped last: until then retention does not remove the file.
    _live: LiveRecording,
}

impl Track {
    /// Creates the file somewhere below `root`, readable by its owner and group, with the header of
    /// an empty recording. Blocks.
    ///
    /// # Errors
    /// [`RecordingError::Disk`].
    pub(super) fn create(
        root: &Path,
        path: PathBuf,
        format: Format,
    ) -> Result<Self, RecordingError> {
        let path: Arc<Path> = path.into();
        let live = LiveRecording::of(&path);
        let file = create_file(root, &path).map_err(|cause| RecordingError::disk(&path, cause))?;
        let track = Self {
            file,
            path,
            format,
            written: 0,
            failure: None,
            named: false,
            root: root.to_owned(),
            _live: live,
        };
        track
            .write_header()
            .map_err(|cause| RecordingError::disk(&track.path, cause))?;
        Ok(track)
    }

    /// Opens the file of a recording that another process had, at its path below `root`. What the
    /// header does not count is cut off: nobody was told that it is safe. Blocks.
    ///
    /// # Errors
    /// [`RecordingError::Disk`], if there is no such recording of this format.
    pub(super) fn reopen(
        root: &Path,
        place: &Path,
        format: Format,
    ) -> Result<Self, RecordingError> {
        let path: Arc<Path> = root.join(place).into();
        let live = LiveRecording::of(&path);
        let opened = find(root, place)
            .and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .and_then(|file| open_file(&file, format));
        let (file, written) = opened.map_err(|cause| RecordingError::disk(&path, cause))?;
        Ok(Self {
            file,
            path,
            format,
            written,
            failure: None,
            // The process that created it may have ended before.
            named: false,
            root: root.to_owned(),
            _live: live,
        })
    }

    /// Number of bytes of audio in the file.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Path below the folder of all recordings.
    pub(super) fn place(&self) -> PathBuf {
        let place = self.path.strip_prefix(&self.root);
        place.unwrap_or(&self.path).to_owned()
    }

    pub(super) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Appends audio to the file: samples first, then the header that counts them. Blocks.
    ///
    /// # Errors
    /// The first failure; every later call returns it too. Audio that reached the disk by then is
    /// counted and stays.
    pub(super) fn write(&mut self, audio: &[u8]) -> Result<(), RecordingError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if audio.is_empty() {
            return Ok(());
        }
        let samples = self.write_samples(audio);
        // Also after a failure, because the header needs no new space and some of the samples may
        // be there.
        let header = self.write_header();
        samples.and(header).map_err(|cause| {
            let failure = RecordingError::disk(&self.path, cause);
            self.failure = Some(failure.clone());
            failure
        })
    }

    /// Waits until the disk has everything. Blocks.
    ///
    /// # Errors
    /// [`RecordingError::Disk`].
    pub(super) fn seal(&mut self) -> Result<(), RecordingError> {
        if self.written == 0 {
            return Ok(());
        }
        self.sync()
            .map_err(|cause| RecordingError::disk(&self.path, cause))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if !self.named {
            // The folders too: after a loss of power a file without its name, or without its
            // folder, is lost.
            for folder in folders(&self.root, &self.path).chain([&*self.root]) {
                File::open(folder)?.sync_all()?;
            }
            self.named = true;
        }
        Ok(())
    }

    fn write_samples(&mut self, mut audio: &[u8]) -> io::Result<()> {
        while !audio.is_empty() {
            match self.file.write_at(audio, HEADER as u64 + self.written) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count as u64;
                    audio = &audio[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.written % 2 == 1 {
            // RIFF pads a chunk of odd length. The next samples overwrite the pad byte.
            self.file.write_all_at(&[0], HEADER as u64 + self.written)?;
        }
        Ok(())
    }

    /// Writes the header at once, so that readers and kills never see half of it.
    fn write_header(&self) -> io::Result<()> {
        self.file.write_all_at(&self.format.header(self.written), 0)
    }
}

/// Removes the file if it has no audio.
impl Drop for Track {
    fn drop(&mut self) {
        if self.written > 0 {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an empty recording");
        }
        remove_folders(&self.root, &self.path);
    }
}

/// Opens a recording, and gives the bytes of audio in it.
fn open_file(path: &Path, format: Format) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0)?;
    let Some(counted) = format.counted(&header) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its header is not that of the stream",
        ));
    };
    // After a loss of power the header may be ahead of the samples.
    let there = file.metadata()?.len().saturating_sub(HEADER as u64);
    let written = counted.min(there / format.frame() * format.frame());
    file.set_len(HEADER as u64 + written + written % 2)?;
    file.write_all_at(&format.header(written), 0)?;
    // The client may be told of all of it.
    file.sync_data()?;
    Ok((file, written))
}

/// Creates a file that must not exist, in folders that may.
fn create_file(root: &Path, path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o640);
    for _ in 0..ATTEMPTS {
        let created = folders(root, path).rev().try_for_each(create_folder);
        match created.and_then(|()| options.open(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn create_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o750).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A symlink could lead recordings out of the configured folder.
            if fs::symlink_metadata(folder)?.is_dir() {
                Ok(())
            } else {
                Err(io::ErrorKind::NotADirectory.into())
            }
        }
        result => result,
    }
}

#[cfg(test)]
mod tests;
