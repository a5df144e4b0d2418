//! Refusal of a connection.

use std::time::Duration;

/// Refusal of a connection, with only what may reach the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Close code that a policy may use.
    pub close_code: u16,
    /// Short machine-readable code.
    pub code: String,
    /// Sentence for the client.
    pub message: String,
    /// Whether the same client may try again unchanged.
    pub retryable: bool,
    /// Time that the client should wait before it tries again.
    pub retry_after: Option<Duration>,
}

impl Rejection {
    /// A refusal after which the client should not try again.
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
