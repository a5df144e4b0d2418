//! A file that is put aside when it is full. `NAME` is written to; `NAME.1` is
//! the one before it, and so on, up to a number.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::index::PendingIndex;
use crate::record::index::{self, Entry};

/// Pause between two looks whether the file is unlocked, and their number: a second together.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS: usize = 200;

/// File that is put aside when it is full.
pub struct Rotated {
    path: PathBuf,
    max_size: u64,
    max_files: usize,
    open: Option<(File, u64)>,
    index: PendingIndex,
}

impl Rotated {
    /// Files of `max_size` bytes, `max_files` of them together with the one
    /// that is written to. Nothing is opened yet.
    pub fn new(path: PathBuf, max_size: u64, max_files: usize) -> Self {
        Self {
            path,
            max_size,
            max_files,
            open: None,
            index: PendingIndex::default(),
        }
    }

    /// Whole lines in parts that fit into a file. A line that does not is alone.
    pub fn parts<'a>(&self, mut lines: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let most = usize::try_from(self.max_size).unwrap_or(usize::MAX);
        std::iter::from_fn(move || {
            let end = |line: &[u8]| line.iter().rposition(|byte| *byte == b'\n');
            let fits = &lines[..most.min(lines.len())];
            let cut = end(fits).or_else(|| lines.iter().position(|byte| *byte == b'\n'))?;
            let (part, rest) = lines.split_at(cut + 1);
            lines = rest;
            Some(part)
        })
    }

    /// Writes whole lines, with their entries for the index: places are from the beginning of
    /// `lines` on. After an error the file is opened anew.
    ///
    /// # Errors
    /// Where the disk is full, or the folder is gone.
    pub fn write(&mut self, lines: &[u8], entries: impl Iterator<Item = Entry>) -> io::Result<()> {
        let (file, size) = self.locked()?;
        let more = lines.len() as u64;
        let (mut file, size) = if size > 0 && size + more > self.max_size {
            self.index.write(&self.path, &file, size);
            self.put_aside()?;
            // The lock is kept until the other process can see that the file has moved.
            drop(file);
            self.locked()?
        } else {
            (file, size)
        };
        if let Err(error) = file.write_all(lines) {
            // Half a line would spoil the next one too. Where even this fails
            // there is nothing more to be done about it.
            drop(file.set_len(size));
            return Err(error);
        }
        let entries = entries.map(|(key, place)| (key, size + place));
        self.index.add(&self.path, &file, entries, size + more);
        // Without locks there was none.
        drop(file.unlock());
        self.open = Some((file, size + more));
        Ok(())
    }

    /// The file, locked, and its size. Two processes write to it while one takes over from the other:
    /// what another process did since is seen here, and nothing that it writes is cut or put aside
    /// too early.
    fn locked(&mut self) -> io::Result<(File, u64)> {
        if let Some((file, size)) = self.open.take() {
            lock(&file);
            // Where somebody has cut it or written to it, what is known of it is wrong.
            if file.metadata()?.len() == size && is_at(&file, &self.path)? {
                return Ok((file, size));
            }
        }
        loop {
            let file = open(&self.path)?;
            lock(&file);
            if is_at(&file, &self.path)? {
                return self.begin(file);
            }
        }
    }

    /// Brings the index up to date.
    pub(crate) fn write_index(&mut self) {
        if let Some((file, size)) = &self.open {
            self.index.write(&self.path, file, *size);
        }
    }

    /// Closes the file, and opens the one that has its name by now.
    ///
    /// # Errors
    /// Where it cannot be opened. The next [`Rotated::write`] tries again.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.write_index();
        self.open = None;
        let (file, size) = self.locked()?;
        drop(file.unlock());
        self.open = Some((file, size));
        Ok(())
    }

    /// Begins to write to a file that is locked.
    fn begin(&mut self, mut file: File) -> io::Result<(File, u64)> {
        let mut size = file.metadata()?.len();
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1)?;
        }
        if last != [b'\n'] {
            // A crash left half a line, which would spoil the next one too.
            file.write_all(b"\n")?;
            size += 1;
        }
        self.index.begin(&self.path, &file, size);
        Ok((file, size))
    }

    /// Moves every file one place on; the last is overwritten.
    fn put_aside(&self) -> io::Result<()> {
        for place in (1..self.max_files).rev() {
            let from = if place == 1 {
                self.path.clone()
            } else {
                aside(&self.path, place - 1)
            };
            let to = aside(&self.path, place);
            match std::fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // Without its index a record is searched line by line.
            drop(std::fs::rename(index::path(&from), index::path(&to)));
        }
        if self.max_files == 1 {
            std::fs::remove_file(&self.path)?;
            drop(std::fs::remove_file(index::path(&self.path)));
        }
        Ok(())
    }
}

/// For its owner only: there are claims in it.
fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// Waits for the lock, and not for ever: whoever has it may stand still. A file system may have no
/// locks. Without one, only the order of files at a take-over is at risk, as each write appends.
fn lock(file: &File) {
    for _ in 0..LOOKS {
        match file.try_lock() {
            Ok(()) => return,
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "the decision record cannot be locked");
                return;
            }
        }
    }
    tracing::warn!(
        "another process keeps the decision record locked; it is written to all the same"
    );
}

/// Whether a file still has its name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn aside(path: &Path, place: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{place}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/log");
        let mut rotated = Rotated::new(path, 10, 3);
        for n in 0..8 {
            rotated
                .write(format!("{n}...\n").as_bytes(), std::iter::empty())
                .unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join("new").join(name));
        assert_eq!(read("log").unwrap(), "6...\n7...\n");
        assert_eq!(read("log.1").unwrap(), "4...\n5...\n");
        assert_eq!(read("log.2").unwrap(), "2...\n3...\n");
        assert!(read("log.3").is_err());
    }

    #[test]
    fn two_processes_fill_the_same_files_and_put_each_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut both = [(); 2].map(|()| Rotated::new(path.clone(), 10, 9));
        // The first one still has the file open that the second one has put aside.
        for n in [0, 0, 1, 0, 0, 0] {
            both[n].write(b"line\n", std::iter::empty()).unwrap();
        }
        let full = |file: PathBuf| std::fs::read(file).unwrap() == b"line\nline\n";
        assert!(full(path.clone()) && (1..3).all(|n| full(aside(&path, n))));
        assert!(!aside(&path, 3).exists());
    }

    #[test]
    fn no_line_is_lost_or_cut_while_two_processes_write_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::thread::scope(|both| {
            for name in ["one", "two"] {
                let mut rotated = Rotated::new(path.clone(), 100, 99);
                both.spawn(move || {
                    for n in 0..200 {
                        let line = format!("{name} {n:03}\n");
                        rotated.write(line.as_bytes(), std::iter::empty()).unwrap();
                    }
                });
            }
        });
        let all = std::iter::once(path.clone()).chain((1..99).map(|n| aside(&path, n)));
        let files = all.filter_map(|file| std::fs::read_to_string(file).ok());
        let mut files: Vec<_> = files.collect();
        files.sort_unstable_by_key(String::len);
        // All but the one that is written to are full: 12 lines of 8 bytes.
        assert!(files[1..].iter().all(|file| file.len() == 96), "{files:?}");
        assert_eq!(files.concat().lines().count(), 400);
        assert!(files.concat().lines().all(|line| line.len() == 7));
    }

    #[test]
    fn what_came_together_and_is_too_much_for_one_file_is_parted_between_lines() {
        let rotated = Rotated::new("log".into(), 10, 2);
        let lines = b"1234\n6789\n1\n12345678901\n2\n";
        let parts: Vec<_> = rotated.parts(lines).collect();
        let expected = ["1234\n6789\n", "1\n", "12345678901\n", "2\n"];
        assert_eq!(parts, expected.map(str::as_bytes));
    }

    #[test]
    fn a_file_that_is_there_is_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "1234567\n").unwrap();
        let mut rotated = Rotated::new(path.clone(), 10, 1);
        rotated.write(b"8\n", std::iter::empty()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1234567\n8\n");
        rotated.write(b"9\n", std::iter::empty()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "9\n");
    }

    #[test]
    fn half_a_line_that_a_crash_left_does_not_spoil_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "whole\nha").unwrap();
        let mut rotated = Rotated::new(path.clone(), 100, 1);
        rotated.write(b"next\n", std::iter::empty()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nha\nnext\n");
    }

    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        Rotated::new(path.clone(), 10, 1)
            .write(b"a\n", std::iter::empty())
            .unwrap();
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_disk_that_is_full_is_an_error_each_time_and_no_more() {
        let mut rotated = Rotated::new("/dev/full".into(), 10, 2);
        assert!(rotated.write(b"a\n", std::iter::empty()).is_err());
        assert!(rotated.write(b"a\n", std::iter::empty()).is_err());
    }

    #[test]
    fn each_record_keeps_its_index_and_what_is_pending_is_searched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut rotated = Rotated::new(path.clone(), 1000, 2);
        let line = |name: &str| format!("{name:<299}\n");
        for name in ["a", "b", "a", "c", "a"] {
            let entry = (index::key(name), 0);
            let line = line(name);
            rotated
                .write(line.as_bytes(), std::iter::once(entry))
                .unwrap();
        }
        let find = |file: &Path| {
            let found = index::find(file, "a").unwrap();
            (found.places, found.unknown)
        };
        assert_eq!(find(&aside(&path, 1)), (vec![0, 600], vec![]));
        assert_eq!(find(&path), (vec![], std::iter::once(0..600).collect()));
        rotated.write_index();
        assert_eq!(find(&path), (vec![300], vec![]));
        // Somebody puts it aside, and tells.
        std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        rotated.reopen().unwrap();
        rotated
            .write(line("a").as_bytes(), std::iter::once((index::key("a"), 0)))
            .unwrap();
        rotated.write_index();
        assert_eq!(find(&path), (vec![0], vec![]));
    }
}
