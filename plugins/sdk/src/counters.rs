//! Counters, which outlive a call.
//!
//! All connections of a policy share its counters, and no other policy sees them. Each call is
//! atomic, so two connections that count at once are both counted. A count stays even if the call
//! that made it fails.

use std::fmt;

use crate::Rejection;
use crate::host::counters;

/// Error of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterError {
    /// The policy has as many counters as the operator allows.
    Full,
    /// The counters are unavailable.
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
    /// Refuses the connection without details. The client may try again, because it is not at
    /// fault.
    fn from(error: CounterError) -> Self {
        Self::new("policy_unavailable", "this cannot be decided at the moment")
            .retryable()
            .detail(error.to_string())
    }
}

/// Value of a counter; 0 if there is none.
pub fn get(key: &str) -> Result<i64, CounterError> {
    counters::get(key).map_err(error)
}

/// Adds to a counter and returns its new value. A new counter begins at 0 and ends after `life_ms`
/// milliseconds, however often it is changed.
pub fn add(key: &str, amount: i64, life_ms: u32) -> Result<i64, CounterError> {
    counters::add(key, amount, life_ms).map_err(error)
}

/// Sets a counter for `life_ms` milliseconds from now and returns its previous value.
pub fn replace(key: &str, value: i64, life_ms: u32) -> Result<i64, CounterError> {
    counters::replace(key, value, life_ms).map_err(error)
}

fn error(error: counters::Error) -> CounterError {
    match error {
        counters::Error::Full => CounterError::Full,
        counters::Error::Unavailable => CounterError::Unavailable,
    }
}
