//! Figures of the process, under the names that all exporters give them.

use base::metrics::{
    PROCESS_CPU, PROCESS_FDS, PROCESS_MAX_FDS, PROCESS_RESIDENT, PROCESS_START, PROCESS_THREADS,
    PROCESS_VIRTUAL, Samples,
};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Adds the figures of this process. One that the system does not give is left out. Blocks.
pub(super) fn sample(samples: &mut Samples, started_ms: u64) {
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
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them reads the folder.
        samples.count(PROCESS_FDS, &[], (open.count() as u64).saturating_sub(1));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        samples.count(PROCESS_MAX_FDS, &[], most);
    }
}
