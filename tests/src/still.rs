//! Processes that stand still for a while, as on a machine that is suspended.

use std::fs;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::eventually;

/// Process that stands still. Dropping it lets the process go on.
#[derive(Debug)]
#[must_use = "the process goes on at once"]
pub struct Still(Pid);

impl Still {
    /// Stops a process, and waits until each of its threads stands: after the signal, one that
    /// runs goes on for a moment, and may answer what arrives meanwhile.
    ///
    /// # Panics
    /// If it has ended.
    pub fn new(child: &Child) -> Self {
        let pid = Pid::from_child(child);
        let still = Self(pid);
        kill_process(pid, Signal::STOP).expect("it is there");
        eventually("all threads stand still", || stands(pid).then_some(()));
        still
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        // One that was killed meanwhile needs nothing.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

fn stands(pid: Pid) -> bool {
    let folder = format!("/proc/{}/task", pid.as_raw_nonzero());
    let threads = fs::read_dir(folder).expect("it is there");
    let mut states = threads.flatten().filter_map(|thread| {
        // A thread may end meanwhile.
        let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        fields.chars().next()
    });
    states.all(|state| state == 'T')
}
