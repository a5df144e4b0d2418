//! What processes use, from `/proc`.

use std::fs;
use std::io;
use std::ops::Sub;
use std::time::Duration;

use anyhow::Context as _;

/// What processes use at a point in time, together.
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
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self {
            cpu: cpu(&stat).context("its stat is not in the form of proc(5)")?,
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

/// Fields 14 and 15. The second field is a name in parentheses that may hold
/// anything, so counting starts behind it.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_micros(
        (user + system) * 1_000_000 / per_second,
    ))
}

fn field(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn descriptors(pid: u32) -> io::Result<i64> {
    let count = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}
