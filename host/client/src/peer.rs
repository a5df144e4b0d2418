//! The gateway's side of the conversation, as it is heard here.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};

use super::refusal::Refusal;
use super::target::ResumeToken;
use base::text::clean;
use session::handshake::ACK;

/// How long the Close may take that belongs to an error frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the end of the connection may take that belongs to a Close.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a gateway may say nothing at all. It pings every 30 s, and answers
/// pings; a network that is gone says nothing for ever.
const SILENCE: Duration = Duration::from_secs(75);

/// Something that the gateway said.
pub enum Heard {
    /// The handshake is accepted.
    Ack(Welcome),
    /// So many bytes of the stream are safe.
    Kept(u64),
    /// The gateway holds audio because its upstream is not there.
    UpstreamLost,
    /// The upstream is there again.
    UpstreamRestored,
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

/// What the ack of a handshake says.
pub struct Welcome {
    /// The id of the session.
    pub session_id: String,
    /// Whether it will be told what is safe.
    pub receipts: Receipts,
    /// Leads back to the stream.
    pub token: Option<ResumeToken>,
    /// Where a stream that was cut goes on.
    pub from_bytes: Option<u64>,
}

/// Whether a gateway says how much of a stream is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipts {
    /// It does.
    Given,
    /// It does not.
    None,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Frame {
    r#type: String,
    status: String,
    ok: Option<bool>,
    session_id: String,
    features: Vec<String>,
    resume_token: Option<String>,
    from_bytes: Option<u64>,
    bytes: u64,
    duration_ms: u64,
}

impl Frame {
    fn welcome(&self) -> Welcome {
        let given = self.features.iter().any(|feature| feature == ACK);
        Welcome {
            session_id: clean(&self.session_id, 100),
            receipts: if given {
                Receipts::Given
            } else {
                Receipts::None
            },
            // What no header can hold leads nowhere.
            token: self
                .resume_token
                .as_deref()
                .and_then(|token| token.parse().ok()),
            from_bytes: self.from_bytes,
        }
    }
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
                None => match timeout(SILENCE, self.stream.next()).await {
                    Ok(message) => message,
                    Err(_) => {
                        let waited = SILENCE.as_secs();
                        return Heard::Lost(anyhow::anyhow!(
                            "the connection was lost: nothing was heard for {waited} s"
                        ));
                    }
                },
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
        match (frame.r#type.as_str(), frame.status.as_str()) {
            ("handshake-ack", _) if frame.ok != Some(false) => Some(Heard::Ack(frame.welcome())),
            ("ping", _) => Some(Heard::Ping),
            ("ack", _) => Some(Heard::Kept(frame.bytes)),
            ("status", "upstream_lost") => Some(Heard::UpstreamLost),
            ("status", "upstream_restored") => Some(Heard::UpstreamRestored),
            ("status", "finalized") => Some(Heard::Finalized {
                bytes: frame.bytes,
                duration: Duration::from_millis(frame.duration_ms),
            }),
            ("error", _) => {
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
