//! How long a thread has run.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time that a core has given this thread since it began: what it waited for one is not in it.
pub(super) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
