//! Refusal by a gateway, and whether to retry.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use base::text::clean;

/// Maximum length of a gateway's text that is shown, in bytes.
const SHOWN: usize = 4000;

/// Close code: the stream cannot be resumed.
const RESUME_REFUSED: u16 = 4011;

/// Close codes that ask for a retry without an error message: going away, service restart, try
/// again later (RFC 6455 and its registry).
const TEMPORARY: [u16; 3] = [1001, 1012, 1013];

/// Refusal or close by a gateway, with everything that it sent about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayRefusal {
    /// The error message, as received.
    pub error: Option<String>,
    /// The Close. A gateway that follows the protocol always sends one.
    pub close: Option<Close>,
}

/// Close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Close code, if there is one.
    pub code: Option<u16>,
    /// Reason, which may be empty.
    pub reason: String,
}

impl From<Option<CloseFrame>> for Close {
    fn from(frame: Option<CloseFrame>) -> Self {
        let code = frame.as_ref().map(|frame| frame.code.into());
        let reason = frame
            .map(|frame| frame.reason.as_str().to_owned())
            .unwrap_or_default();
        Self { code, reason }
    }
}

/// Advice in an error message.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Advice {
    close_code: Option<u16>,
    retryable: bool,
    retry_after_ms: Option<u64>,
}

impl GatewayRefusal {
    /// Whether it is only the end of a successful stream.
    pub(super) fn is_plain_close(&self) -> bool {
        self.error.is_none() && self.code().is_none_or(|code| code == 1000)
    }

    /// Whether the same client may be accepted later.
    pub(super) fn is_temporary(&self) -> bool {
        match self.advice() {
            Some(advice) => advice.retryable,
            None => self.code().is_some_and(|code| TEMPORARY.contains(&code)),
        }
    }

    /// Minimum time before a retry, if the gateway named one.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let advice = self.advice()?;
        advice.retry_after_ms.map(Duration::from_millis)
    }

    /// Whether it refuses to resume a stream.
    pub(super) fn is_of_resuming(&self) -> bool {
        let said = self.advice().and_then(|advice| advice.close_code);
        self.code().or(said) == Some(RESUME_REFUSED)
    }

    /// The refusal in one line.
    pub(super) fn headline(&self) -> String {
        match &self.close {
            Some(Close {
                code: Some(code),
                reason,
            }) => format!("closed by the gateway: {code} {}", clean(reason, SHOWN)),
            Some(Close { code: None, .. }) => "closed by the gateway, without a code".to_owned(),
            None => "the connection then ended without a Close frame".to_owned(),
        }
    }

    fn code(&self) -> Option<u16> {
        self.close.as_ref().and_then(|close| close.code)
    }

    fn advice(&self) -> Option<Advice> {
        // An error message that cannot be parsed gives no advice.
        let error = self.error.as_deref()?;
        Some(serde_json::from_str(error).unwrap_or_default())
    }
}

impl fmt::Display for GatewayRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = &self.error {
            let pretty = error
                .parse::<Value>()
                .and_then(|value| serde_json::to_string_pretty(&value));
            for line in pretty.as_deref().unwrap_or(error).lines() {
                writeln!(f, "{}", clean(line, SHOWN))?;
            }
        }
        f.write_str(&self.headline())
    }
}
