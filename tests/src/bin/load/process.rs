//! Resource usage of processes, from `/proc`.

use std::fs;
use std::io;
use std::ops::Sub;
use std::time::Duration;

use anyhow::Context as _;

/// Total resource usage of processes at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time since their start.
    pub cpu: Duration,
    /// Bytes of resident memory.
    pub rss: i64,
    /// Open file descriptors.
    pub descriptors: i64,
    /// Threads.
    pub threads: i64,
}

impl Usage {
    /// Of all these processes now.
    pub fn of(pids: &[u32]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for &pid in pids {
            let one =
                Self::of_one(pid).with_context(|| format!("process {pid} cannot be observed"))?;
            sum.cpu += one.cpu;
            sum.rss += one.rss;
            sum.descriptors += one.descriptors;
            sum.threads += one.threads;
        }
        Ok(sum)
    }

    /// Of this generator: where it uses all of its core, it is what was
    /// measured.
    pub fn own() -> anyhow::Result<Self> {
        Self::of(&[std::process::id()])
    }

    fn of_one(pid: u32) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self {
            cpu: cpu(pid).context("what its threads have run is not known")?,
            rss: 1024 * field(&status, "VmRSS:").context("it has no VmRSS")?,
            descriptors: descriptors(pid)?,
            threads: field(&status, "Threads:").context("it has no Threads")?,
        })
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            rss: self.rss - earlier.rss,
            descriptors: self.descriptors - earlier.descriptors,
            threads: self.threads - earlier.threads,
        }
    }
}

/// CPU time of its threads, by the scheduler's own clock. The times of proc(5) are sampled, and
/// miss short runs.
fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = fs::read_to_string(task?.path().join("schedstat"))?;
        let ran = stat.split_ascii_whitespace().next();
        nanos += ran.context("its schedstat is empty")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

fn field(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn descriptors(pid: u32) -> io::Result<i64> {
    let count = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}
