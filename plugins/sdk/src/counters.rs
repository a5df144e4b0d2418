//! Numbers that outlive a call.
//!
//! All connections of a policy share them, and no other policy sees them. Each
//! call is one step, so that of two connections that count at once both are
//! counted. What was counted stays counted, whatever becomes of the call.

use std::fmt;

use crate::Rejection;
use crate::host::counters;

/// Why nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterError {
    /// The policy has all the counters that the operator lets it have.
    Full,
    /// The counters could not be reached.
    Unavailable,
}

impl fmt::Display for CounterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => {
                "there is no room for another counter: raise `max_counters`, or let them end sooner"
            }
            Self::Unavailable => "the counters cannot be reached",
        })
    }
}

impl std::error::Error for CounterError {}

impl From<CounterError> for Rejection {
    /// No fault of the client's: it may come back, and is told no more.
    fn from(error: CounterError) -> Self {
        Self::new("policy_unavailable", "this cannot be decided at the moment")
            .retryable()
            .detail(error.to_string())
    }
}

/// The value of a counter; 0 where there is none any more.
pub fn get(key: &str) -> Result<i64, CounterError> {
    counters::get(key).map_err(error)
}

/// Adds to a counter, and answers its new value. One that is not there begins
/// at 0, and ends after `life_ms` milliseconds, however often it is added to.
pub fn add(key: &str, amount: i64, life_ms: u32) -> Result<i64, CounterError> {
    counters::add(key, amount, life_ms).map_err(error)
}

/// Gives a counter another value, for `life_ms` milliseconds from now, and
/// answers the value that it had.
pub fn replace(key: &str, value: i64, life_ms: u32) -> Result<i64, CounterError> {
    counters::replace(key, value, life_ms).map_err(error)
}

fn error(error: counters::Error) -> CounterError {
    match error {
        counters::Error::Full => CounterError::Full,
        counters::Error::Unavailable => CounterError::Unavailable,
    }
}
