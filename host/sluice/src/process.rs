//! Figures of the process, under the names that all exporters give them.

use base::metrics::{
    PROCESS_CPU, PROCESS_FDS, PROCESS_MAX_FDS, PROCESS_RESIDENT, PROCESS_START, PROCESS_THREADS,
    PROCESS_VIRTUAL, Samples,
};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Adds the figures of this process. One that the system does not give is left out. Blocks.
pub(crate) fn sample(samples: &mut Samples, started_ms: u64) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    #[allow(clippy::cast_precision_loss, reason = "a sample is a float")]
    samples.add(
        PROCESS_CPU,
        &[],
        cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
    );
    #[allow(clippy::cast_precision_loss, reason = "a sample is a float")]
    samples.add(PROCESS_START, &[], started_ms as f64 / 1000.0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (name, field, unit) in [
        (PROCESS_RESIDENT, "VmRSS:", 1024),
        (PROCESS_VIRTUAL, "VmSize:", 1024),
        (PROCESS_THREADS, "Threads:", 1),
    ] {
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let value = value.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
        if let Some(value) = value {
            samples.count(name, &[], value * unit);
        }
    }
    let descriptors = descriptors();
    for (name, number) in [
        (PROCESS_FDS, descriptors.open),
        (PROCESS_MAX_FDS, descriptors.limit),
    ] {
        if let Some(number) = number {
            samples.count(name, &[], number);
        }
    }
}

/// File descriptors of this process, as far as the system tells.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    /// Open ones.
    pub(crate) open: Option<u64>,
    /// Limit of open ones.
    pub(crate) limit: Option<u64>,
}

/// File descriptors of this process now. Blocks.
pub(crate) fn descriptors() -> Descriptors {
    let open = std::fs::read_dir("/proc/self/fd").ok();
    Descriptors {
        // One of them reads the folder.
        open: open.map(|open| (open.count() as u64).saturating_sub(1)),
        limit: getrlimit(Resource::Nofile).current,
    }
}
