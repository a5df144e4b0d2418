//! Descriptors and cores of the machine.

use std::thread::available_parallelism;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Raises the soft limit of open files to the hard one. A gateway that is started here inherits it.
pub fn raise_descriptor_limit() -> rustix::io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
}

/// Pins this thread, and the processes that it starts, to one core, if the machine has it.
pub fn pin(core: usize) {
    let cores = available_parallelism().map_or(1, usize::from);
    let mut set = CpuSet::new();
    if core < CpuSet::MAX_CPU {
        set.set(core);
    }
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("not pinned to core {core} of {cores}: {error}");
    }
}
