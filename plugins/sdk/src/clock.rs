//! Clocks of the gateway.

use crate::host::clock;

/// Current time, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    clock::now_ms()
}

/// Monotonic time, in nanoseconds since an arbitrary point.
pub fn monotonic_ns() -> u64 {
    clock::monotonic_ns()
}
