//! Writes that fail as the kernel fails them, with any error: a library that comes before the
//! system's. It needs neither root nor a disk that has the fault.

use std::path::PathBuf;
use std::process::Command;

use rustix::io::Errno;
use tempfile::TempDir;

const SOURCE: &str = include_str!("failing_writes.c");

/// Faults of the files below a folder, for the programs that run with them.
pub struct FailingWrites {
    below: &'static str,
    folder: TempDir,
}

impl FailingWrites {
    /// For files whose path has this part. There are none yet.
    ///
    /// # Panics
    /// If there is no C compiler.
    pub fn below(part: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let faults = Self {
            below: part,
            folder,
        };
        let source = faults.file("failing_writes.c");
        std::fs::write(&source, SOURCE).expect("a file");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]);
        cc.arg(faults.library()).arg(source);
        let done = cc.output().expect("a C compiler");
        assert!(done.status.success(), "{done:?}");
        faults
    }

    /// The same command, with these faults.
    #[must_use]
    pub fn within(&self, mut command: Command) -> Command {
        command
            .env("LD_PRELOAD", self.library())
            .env("FAULT_PATH", self.below)
            .env("FAULT_FILE", self.file("fault"));
        command
    }

    /// From now on every `write` or `sync` fails with this error.
    ///
    /// # Panics
    /// If that cannot be said.
    pub fn begin(&self, step: &str, error: Errno) {
        let aside = self.file("fault.new");
        std::fs::write(&aside, format!("{step} {}", error.raw_os_error())).expect("a file");
        std::fs::rename(aside, self.file("fault")).expect("a file");
    }

    /// From now on nothing fails.
    ///
    /// # Panics
    /// If nothing did.
    pub fn end(&self) {
        std::fs::remove_file(self.file("fault")).expect("there was a fault");
    }

    fn library(&self) -> PathBuf {
        self.file("failing_writes.so")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
