use crate::host::types;

/// Refusal of a connection.
///
/// Make one with [`Rejection::new`] or one of the common refusals, and refine it with the methods
/// that return it:
///
/// ```
/// # use sluice_policy::Rejection;
/// let full = Rejection::new("room_full", "this room is full").close_code(4100).retry_after_ms(5_000);
/// assert!(full.is_retryable());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a refusal that is not returned refuses nobody"]
pub struct Rejection {
    close_code: Option<u16>,
    code: String,
    message: String,
    retryable: bool,
    retry_after_ms: Option<u32>,
    detail: Option<String>,
}

impl Rejection {
    /// Refusal with close code 4005, after which the client should not try again. `code` is a short
    /// word for programs, `message` a sentence for the user.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            close_code: None,
            code: code.into(),
            message: message.into(),
            retryable: false,
            retry_after_ms: None,
            detail: None,
        }
    }

    /// 4001 `auth_failed`, not retryable: the client has not proved its identity.
    pub fn auth_failed(message: impl Into<String>) -> Self {
        Self::new("auth_failed", message).close_code(4001)
    }

    /// 4002 `ingest_exists`, retryable: another connection has the stream.
    pub fn ingest_exists(message: impl Into<String>) -> Self {
        Self::new("ingest_exists", message)
            .close_code(4002)
            .retryable()
    }

    /// 4000 `handshake_invalid`, not retryable: the handshake is not acceptable.
    pub fn handshake_invalid(message: impl Into<String>) -> Self {
        Self::new("handshake_invalid", message).close_code(4000)
    }

    /// Sets the WebSocket close code. A policy may use 4000, 4001, 4002, 4005 and 4100 to 4999, and
    /// 4003 in a notice to a connection that it evicts. The gateway turns any other code into 4005.
    pub fn close_code(mut self, close_code: u16) -> Self {
        self.close_code = Some(close_code);
        self
    }

    /// Allows the same client to try again unchanged.
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Allows the same client to try again unchanged after this many milliseconds.
    pub fn retry_after_ms(mut self, wait: u32) -> Self {
        self.retry_after_ms = Some(wait);
        self.retryable()
    }

    /// Adds a line for the gateway's log, which the client does not see.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Code for programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Sentence for the user.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same client may try again unchanged.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// Takes the line for the log.
    #[cfg(any(target_family = "wasm", test))]
    pub(crate) fn take_detail(&mut self) -> Option<String> {
        self.detail.take()
    }
}

impl From<Rejection> for types::Rejection {
    fn from(rejection: Rejection) -> Self {
        Self {
            close_code: rejection.close_code,
            code: rejection.code,
            message: rejection.message,
            retryable: rejection.retryable,
            retry_after_ms: rejection.retry_after_ms,
        }
    }
}
