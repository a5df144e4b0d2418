use crate::host::types;

/// Why a connection is refused.
///
/// Made by [`Rejection::new`] or by one of the common refusals, and refined by
/// the methods that return it:
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
    /// A refusal with close code 4005 that is final. `code` is a short word
    /// for programs, `message` a sentence for the person at the other end.
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

    /// 4001 `auth_failed`, final: the caller has not shown who they are.
    pub fn auth_failed(message: impl Into<String>) -> Self {
        Self::new("auth_failed", message).close_code(4001)
    }

    /// 4002 `ingest_exists`, retryable: somebody else has the place.
    pub fn ingest_exists(message: impl Into<String>) -> Self {
        Self::new("ingest_exists", message)
            .close_code(4002)
            .retryable()
    }

    /// 4000 `handshake_invalid`, final: the handshake asks for what cannot be.
    pub fn handshake_invalid(message: impl Into<String>) -> Self {
        Self::new("handshake_invalid", message).close_code(4000)
    }

    /// Sets the WebSocket close code. A policy may use 4000, 4001, 4002, 4005
    /// and 4100 to 4999, and 4003 in a notice to a connection that it evicts;
    /// the gateway turns any other into 4005.
    pub fn close_code(mut self, close_code: u16) -> Self {
        self.close_code = Some(close_code);
        self
    }

    /// Says that the same client may try again unchanged.
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Says that the same client may try again unchanged after a while.
    pub fn retry_after_ms(mut self, wait: u32) -> Self {
        self.retry_after_ms = Some(wait);
        self.retryable()
    }

    /// Adds a line that goes to the gateway's log, and never to the client.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The word for programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same client may try again unchanged.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// The line for the log alone.
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
