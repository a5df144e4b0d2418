//! Little memory and much swap, for one process: a control group of its own. It needs root.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::can;
use crate::{command, eventually};

/// Bytes of swap.
const SWAP: &str = "256M";
/// Where control groups of memory are mounted, and which file has the limit: version 2, and 1.
const GROUPS: [(&str, &str); 2] = [
    ("/sys/fs/cgroup", "memory.max"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
];

/// A control group and a file to swap to, until this is dropped. Processes in it must have ended by
/// then.
pub struct LittleMemory {
    group: PathBuf,
    /// Turns the swap off when its input ends, however this process does.
    swap: Child,
    _folder: TempDir,
}

impl LittleMemory {
    /// Has so many bytes of memory; none where this machine cannot, which is said.
    ///
    /// # Panics
    /// When what was possible is not any more.
    pub fn new(bytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("swap");
        let name = format!("sluice-test-{}", std::process::id());
        let limits = GROUPS.map(|(mount, limit)| Path::new(mount).join(&name).join(limit));
        let [two, one] = limits.each_ref().map(|limit| limit.display());
        let try_it = format!(
            "truncate -s 0 {0}; fallocate -l {SWAP} {0}; chmod 600 {0}; mkswap {0} >/dev/null; \
             swapon {0}; swapoff {0}; \
             for limit in {two} {one}; do \
               group=$(dirname $limit); mkdir $group 2>/dev/null || continue; \
               if [ -w $limit ]; then echo {bytes} >$limit; exit; fi; rmdir $group; \
             done; echo 'no control group has a limit of memory' >&2; exit 1",
            file.display()
        );
        if !can("swap in a control group (it needs root)", &try_it) {
            return None;
        }
        let limit = limits.iter().find(|limit| limit.exists());
        let group = limit.and_then(|limit| limit.parent()).expect("its group");
        let mut swap = Command::new("sh");
        swap.args([
            "-ec",
            "swapon \"$0\"; echo on; read -r _ || true; swapoff \"$0\"",
        ]);
        let mut swap = swap
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut said = String::new();
        let out = swap.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut said).expect("a line");
        assert_eq!(said, "on\n");
        Some(Self {
            group: group.to_owned(),
            swap,
            _folder: folder,
        })
    }

    /// The same command, in this group.
    #[must_use]
    pub fn within(&self, command: &Command) -> Command {
        let script = "echo $$ >\"$GROUP/cgroup.procs\"; exec \"$0\" \"$@\"";
        let mut within = command::quiet(Path::new("sh"), &["-ec", script]);
        within
            .arg(command.get_program())
            .args(command.get_args())
            .env("GROUP", &self.group);
        within
    }

    /// Whether a process is in it.
    ///
    /// # Panics
    /// When it is gone.
    pub fn has(&self, process: u32) -> bool {
        let members = std::fs::read_to_string(self.group.join("cgroup.procs"));
        let members = members.expect("the processes of the group");
        members.lines().any(|member| member == process.to_string())
    }
}

impl Drop for LittleMemory {
    fn drop(&mut self) {
        drop(self.swap.stdin.take());
        let off = self.swap.wait().expect("sh ends");
        if std::thread::panicking() {
            // Something may still be in it.
            let _ = std::fs::remove_dir(&self.group);
            return;
        }
        assert!(off.success(), "{off}");
        eventually("the end of the group", || {
            std::fs::remove_dir(&self.group).ok()
        });
    }
}
