//! The answer no.

use std::time::Duration;

/// Why a connection is refused, within the bounds of what may reach a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// A close code that a policy may use.
    pub close_code: u16,
    /// A short machine-readable word.
    pub code: String,
    /// A sentence for the client.
    pub message: String,
    /// Whether the same client may try again unchanged.
    pub retryable: bool,
    /// How long it should wait first.
    pub retry_after: Option<Duration>,
}

impl Rejection {
    /// A rejection that is final.
    #[must_use]
    pub fn new(close_code: u16, code: &str, message: &str) -> Self {
        Self {
            close_code,
            code: code.to_owned(),
            message: message.to_owned(),
            retryable: false,
            retry_after: None,
        }
    }
}
