//! Events of a client in a separate process.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// Event of a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The upgrade was answered with 101 and this subprotocol, or "" without one.
    Open(String),
    /// A TEXT message.
    Text(String),
    /// A BINARY message.
    Binary(Vec<u8>),
    /// The connection ended, as the library reports it: 1006 without a Close.
    Close(u16, String),
    /// The upgrade was answered with another status.
    Rejected(u16),
    /// There was no answer to the upgrade.
    Failed(String),
}

impl Event {
    /// Parses a report of a client; `None` if it reports a failed write.
    pub(crate) fn parse(event: &Value) -> Option<Self> {
        let data = || event["data"].as_str().expect("text").to_owned();
        let number = |name: &str| {
            u16::try_from(event[name].as_u64().expect("a number")).expect("a small number")
        };
        Some(match event["event"].as_str() {
            Some("open") => {
                Self::Open(event["subprotocol"].as_str().unwrap_or_default().to_owned())
            }
            Some("text") => Self::Text(data()),
            Some("binary") => Self::Binary(BASE64_STANDARD.decode(data()).expect("base64")),
            Some("close") => Self::Close(
                number("code"),
                event["reason"].as_str().expect("text").to_owned(),
            ),
            Some("rejected") => Self::Rejected(number("status")),
            Some("failed") => Self::Failed(event["error"].to_string()),
            Some("send-failed") => return None,
            _ => panic!("no event: {event}"),
        })
    }
}
