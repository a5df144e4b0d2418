//! Faults of the machine: a full, read-only or frozen disk, a name server that never answers,
//! exhausted descriptors and memory. Disks are mounted in the gateway's own mount namespace, so
//! they vanish when it ends. They need root and loop devices.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::command;
use crate::gateway::Gateway;

mod failing_writes;

pub use failing_writes::FailingWrites;

/// Whether a command works on this machine. If not, prints that the test is skipped, past the
/// capture of test output.
pub fn can(what: &str, script: &str) -> bool {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", script]);
    let why = match command.output() {
        Ok(done) if done.status.success() => return true,
        Ok(done) => String::from_utf8_lossy(&done.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    let said = format!("SKIPPED: this machine cannot {what}: {why}\n");
    std::io::stderr()
        .write_all(said.as_bytes())
        .expect("standard error");
    false
}

/// Whether a small disk in memory can be made.
pub fn can_mount() -> bool {
    can("mount a tmpfs (it needs root)", "mount -t tmpfs none /mnt")
}

/// The command in its own mount namespace, in which `script` runs first. There, `$DATA` is the data
/// folder.
pub fn with_mounts(command: &Command, script: &str) -> Command {
    let arguments: Vec<_> = command.get_args().collect();
    let data = arguments.last().expect("the data folder is the last");
    let mut within = command::quiet(
        Path::new("unshare"),
        &["--mount", "--propagation", "private", "sh", "-ec"],
    );
    within
        .arg(format!("{script}\nexec \"$0\" \"$@\""))
        .arg(command.get_program())
        .args(&arguments)
        .env("DATA", data);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            within.env(name, value);
        }
    }
    within
}

/// A path as the gateway sees it, with the mounts of its namespace.
pub fn seen_by(gateway: &Gateway, path: &Path) -> PathBuf {
    let root = format!("/proc/{}/root", gateway.id());
    Path::new(&root).join(path.strip_prefix("/").expect("an absolute path"))
}

/// Limits the descriptors of a gateway, with an argument of `prlimit`.
///
/// # Panics
/// If that is not possible.
pub fn limit_descriptors(gateway: &Gateway, limit: &str) {
    let mut prlimit = Command::new("prlimit");
    prlimit.arg(format!("--pid={}", gateway.id()));
    let done = prlimit.arg(format!("--nofile={limit}:")).status();
    assert!(done.expect("prlimit runs").success());
}

/// Limits a gateway to this many more descriptors than it has.
///
/// # Panics
/// If it is gone.
pub fn leave_descriptors(gateway: &Gateway, more: usize) {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", gateway.id()));
    let entries = folder.expect("its descriptors").flatten();
    let numbers = entries.map(|entry| entry.file_name().into_string());
    let used: Vec<usize> = numbers
        .map(|number| number.expect("a number").parse().expect("a number"))
        .collect();
    let mut free = (0..).filter(|number| !used.contains(number));
    let first_too_many = free.nth(more).expect("numbers do not end");
    limit_descriptors(gateway, &first_too_many.to_string());
}

/// Disk with a file system that can be frozen: a file in its own folder.
pub struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// Makes the disk. `None` if this machine cannot, which is printed.
    ///
    /// # Panics
    /// If there is no space for it.
    pub fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Self { folder };
        let make = format!(
            "truncate -s 64M {0}; mkfs.ext4 -q -F {0}; mount -o loop {0} /mnt; fsfreeze -f /mnt; fsfreeze -u /mnt",
            disk.image()
        );
        can("freeze a disk (it needs root and loop devices)", &make).then_some(disk)
    }

    fn image(&self) -> String {
        self.folder.path().join("image").display().to_string()
    }

    /// Mounts the disk at a folder of the data folder.
    pub fn mounted_at(&self, folder: &str) -> String {
        format!(
            "mkdir -p \"$DATA/{folder}\"; mount -o loop {} \"$DATA/{folder}\"",
            self.image()
        )
    }
}

/// Frozen disk, on which every write waits until this is dropped or its process dies.
pub struct Frozen(Child);

impl Frozen {
    /// Freezes the file system of a path.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn freeze(path: &Path) -> Self {
        // The helper thaws the disk when its input ends, however this process ends. A gateway that
        // waits for a frozen disk cannot be killed.
        // The helper holds the folder open, because an ending process has no root any more, though
        // a thread of it still waits for the disk.
        let script = "exec 3<\"$0\"; fsfreeze -f /dev/fd/3; echo frozen; read -r _ || true; \
                      fsfreeze -u /dev/fd/3";
        let mut child = Command::new("sh")
            .args(["-ec", script])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut said = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut said).expect("a line");
        assert_eq!(said, "frozen\n");
        Self(child)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let thawed = self.0.wait().expect("sh ends");
        assert!(thawed.success() || std::thread::panicking(), "{thawed}");
    }
}
