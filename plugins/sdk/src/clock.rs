//! Time, as the gateway tells it.

use crate::host::clock;

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    clock::now_ms()
}

/// Nanoseconds from an arbitrary point, never going back.
pub fn monotonic_ns() -> u64 {
    clock::monotonic_ns()
}
