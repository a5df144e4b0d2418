//! The gateway's side of the conversation, as it is heard here.

use std::fmt;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::text::clean;

/// How long the Close may take that belongs to an error frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the end of the connection may take that belongs to a Close.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes of a gateway's words that are shown.
const SHOWN: usize = 4000;

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

impl Refusal {
    /// Whether it is nothing but the end of a stream that went well.
    pub(super) fn is_plain_close(&self) -> bool {
        let code = self.close.as_ref().and_then(|close| close.code);
        self.error.is_none() && code.is_none_or(|code| code == 1000)
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
        match &self.close {
            Some(Close {
                code: Some(code),
                reason,
            }) => write!(f, "closed by the gateway: {code} {}", clean(reason, SHOWN)),
            Some(Close { code: None, .. }) => f.write_str("closed by the gateway, without a code"),
            None => f.write_str("the connection then ended without a Close frame"),
        }
    }
}

/// Something that the gateway said.
pub enum Heard {
    /// The handshake is accepted.
    Ack {
        /// The id of the session.
        session_id: String,
    },
    /// Everything was received.
    Finalized {
        /// Bytes of audio.
        bytes: u64,
        /// How long they last.
        duration: Duration,
    },
    /// An application-level ping, to be answered.
    Ping,
    /// It is over, with a Close or an error frame.
    Closed(Refusal),
    /// It is over, without a word.
    Lost(anyhow::Error),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Frame {
    r#type: String,
    status: String,
    ok: Option<bool>,
    session_id: String,
    bytes: u64,
    duration_ms: u64,
}

/// The receiving half of a WebSocket.
pub struct Peer<S> {
    stream: S,
    error: Option<String>,
}

impl<S> Peer<S>
where
    S: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            error: None,
        }
    }

    /// The next thing that matters. An error frame is kept until the Close
    /// that follows it; messages of unknown types are passed over.
    ///
    /// May be dropped and called again.
    pub async fn next(&mut self) -> Heard {
        loop {
            let message = match &self.error {
                None => self.stream.next().await,
                // A gateway that says no and then nothing must not hold us.
                Some(_) => timeout(CLOSE_TIMEOUT, self.stream.next())
                    .await
                    .unwrap_or(None),
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    if let Some(heard) = self.understand(text.as_str()) {
                        return heard;
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    self.leave().await;
                    return Heard::Closed(Refusal {
                        error: self.error.take(),
                        close: Some(frame.into()),
                    });
                }
                // Pings are answered by the library; audio is for others.
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    return self.ended(lost(error));
                }
                None => {
                    return self.ended(anyhow::anyhow!(
                        "the gateway ended the connection without a Close frame"
                    ));
                }
            }
        }
    }

    fn understand(&mut self, text: &str) -> Option<Heard> {
        let frame: Frame = serde_json::from_str(text).unwrap_or_default();
        match frame.r#type.as_str() {
            "handshake-ack" if frame.ok != Some(false) => Some(Heard::Ack {
                session_id: clean(&frame.session_id, 100),
            }),
            "ping" => Some(Heard::Ping),
            "status" if frame.status == "finalized" => Some(Heard::Finalized {
                bytes: frame.bytes,
                duration: Duration::from_millis(frame.duration_ms),
            }),
            "error" => {
                self.error = Some(text.to_owned());
                None
            }
            _ => None,
        }
    }

    fn ended(&mut self, error: anyhow::Error) -> Heard {
        match self.error.take() {
            Some(error) => Heard::Closed(Refusal {
                error: Some(error),
                close: None,
            }),
            None => Heard::Lost(error),
        }
    }

    /// Reads on after a Close, which is what makes the library answer it, until
    /// the gateway ends the connection.
    async fn leave(&mut self) {
        let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
        // Whether it ends well or is cut short, nothing more is of interest.
        let _ = timeout(END_TIMEOUT, rest).await;
    }
}

/// A broken connection. The library's text names its causes already, so they
/// are not kept: they would be printed twice.
#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
pub fn lost(error: tungstenite::Error) -> anyhow::Error {
    anyhow::anyhow!("the connection was lost: {error}")
}
