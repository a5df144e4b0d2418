//! A gateway's no, and what a client may make of it.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use base::text::clean;

/// Bytes of a gateway's words that are shown.
const SHOWN: usize = 4000;

/// The stream that a token leads to cannot go on.
const RESUME_REFUSED: u16 = 4011;

/// Codes that ask for another try where no error frame says more: going away,
/// service restart, try again later (RFC 6455 and the registry that it opens).
const TEMPORARY: [u16; 3] = [1001, 1012, 1013];

/// A gateway that refused or closed, and everything that it said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error frame, as it was received.
    pub error: Option<String>,
    /// The Close. A gateway that keeps to the protocol always sends one.
    pub close: Option<Close>,
}

/// A Close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The code, if there was one.
    pub code: Option<u16>,
    /// The reason, which may be empty.
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

/// The advice in an error frame.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Advice {
    close_code: Option<u16>,
    retryable: bool,
    retry_after_ms: Option<u64>,
}

impl Refusal {
    /// Whether it is nothing but the end of a stream that went well.
    pub(super) fn is_plain_close(&self) -> bool {
        self.error.is_none() && self.code().is_none_or(|code| code == 1000)
    }

    /// Whether the same client may be welcome later.
    pub(super) fn is_temporary(&self) -> bool {
        match self.advice() {
            Some(advice) => advice.retryable,
            None => self.code().is_some_and(|code| TEMPORARY.contains(&code)),
        }
    }

    /// How long it is to stay away at the least.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let advice = self.advice()?;
        advice.retry_after_ms.map(Duration::from_millis)
    }

    /// Whether it is about the stream that was to go on.
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
        // What cannot be read advises nothing.
        let error = self.error.as_deref()?;
        Some(serde_json::from_str(error).unwrap_or_default())
    }
}

impl fmt::Display for Refusal {
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
