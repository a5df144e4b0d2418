//! Receiving: messages of the gateway.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Message};

use super::refusal::GatewayRefusal;
use super::target::ResumeToken;
use base::text::clean;
use session::handshake::ACK;

/// Time to wait for the Close after an error message.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time to wait for the end of the connection after a Close.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Time of silence after which the gateway counts as lost. It pings every 30 s and answers pings.
const SILENCE: Duration = Duration::from_secs(75);

/// Event from the gateway.
pub enum GatewayEvent {
    /// The gateway accepted the handshake.
    Ack(Welcome),
    /// Number of bytes of the stream that are safe.
    Kept(u64),
    /// The gateway holds audio because its upstream is away.
    UpstreamLost,
    /// The upstream is back.
    UpstreamRestored,
    /// The token expires in so long.
    TokenExpiring(Duration),
    /// The gateway took another token.
    TokenRenewed,
    /// The gateway did not take another token, and says why.
    RenewalRefused(String),
    /// The gateway received everything.
    Finalized {
        /// Number of bytes of audio.
        bytes: u64,
        /// Duration of the audio.
        duration: Duration,
    },
    /// Application-level ping, which needs an answer.
    Ping,
    /// The gateway ended the connection with a Close or an error message.
    Closed(GatewayRefusal),
    /// The connection ended without either.
    Lost(anyhow::Error),
}

/// Content of the ack.
pub struct Welcome {
    /// Session id.
    pub session_id: String,
    /// Whether the gateway acknowledges audio.
    pub receipts: AckSupport,
    /// Token that resumes the stream.
    pub token: Option<ResumeToken>,
    /// Position at which a resumed stream continues.
    pub from_bytes: Option<u64>,
}

/// Whether the gateway tells how much of a stream is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckSupport {
    /// It does.
    Given,
    /// It does not.
    None,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct GatewayMessage {
    r#type: String,
    status: String,
    ok: Option<bool>,
    session_id: String,
    features: Vec<String>,
    resume_token: Option<String>,
    from_bytes: Option<u64>,
    bytes: u64,
    duration_ms: u64,
    expires_in_ms: u64,
    message: String,
}

impl GatewayMessage {
    fn welcome(&self) -> Welcome {
        let given = self.features.iter().any(|feature| feature == ACK);
        Welcome {
            session_id: clean(&self.session_id, 100),
            receipts: if given {
                AckSupport::Given
            } else {
                AckSupport::None
            },
            // A token that fits in no header cannot resume.
            token: self
                .resume_token
                .as_deref()
                .and_then(|token| token.parse().ok()),
            from_bytes: self.from_bytes,
        }
    }
}

/// Receiving half of a WebSocket.
pub struct GatewayReader<S> {
    stream: S,
    error: Option<String>,
}

impl<S> GatewayReader<S>
where
    S: Stream<Item = tungstenite::Result<Message>> + Unpin,
{
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            error: None,
        }
    }

    /// Next event. An error message is kept until its Close arrives. Messages of unknown types are
    /// skipped.
    ///
    /// Cancel-safe.
    pub async fn next(&mut self) -> GatewayEvent {
        loop {
            let message = match &self.error {
                None => match timeout(SILENCE, self.stream.next()).await {
                    Ok(message) => message,
                    Err(_) => {
                        let waited = SILENCE.as_secs();
                        return GatewayEvent::Lost(anyhow::anyhow!(
                            "the connection was lost: nothing was heard for {waited} s"
                        ));
                    }
                },
                // A gateway that refuses and then stays silent must not keep the client.
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
                    return GatewayEvent::Closed(GatewayRefusal {
                        error: self.error.take(),
                        close: Some(frame.into()),
                    });
                }
                // The library answers pings; audio is not for this client.
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

    fn understand(&mut self, text: &str) -> Option<GatewayEvent> {
        let frame: GatewayMessage = serde_json::from_str(text).unwrap_or_default();
        match (frame.r#type.as_str(), frame.status.as_str()) {
            ("handshake-ack", _) if frame.ok != Some(false) => {
                Some(GatewayEvent::Ack(frame.welcome()))
            }
            ("ping", _) => Some(GatewayEvent::Ping),
            ("ack", _) => Some(GatewayEvent::Kept(frame.bytes)),
            ("status", "upstream_lost") => Some(GatewayEvent::UpstreamLost),
            ("status", "upstream_restored") => Some(GatewayEvent::UpstreamRestored),
            ("status", "finalized") => Some(GatewayEvent::Finalized {
                bytes: frame.bytes,
                duration: Duration::from_millis(frame.duration_ms),
            }),
            ("token_expiring", _) => Some(GatewayEvent::TokenExpiring(Duration::from_millis(
                frame.expires_in_ms,
            ))),
            ("status", "renewed") => Some(GatewayEvent::TokenRenewed),
            ("status", "renewal_refused") => {
                Some(GatewayEvent::RenewalRefused(clean(&frame.message, 500)))
            }
            ("error", _) => {
                self.error = Some(text.to_owned());
                None
            }
            _ => None,
        }
    }

    fn ended(&mut self, error: anyhow::Error) -> GatewayEvent {
        match self.error.take() {
            Some(error) => GatewayEvent::Closed(GatewayRefusal {
                error: Some(error),
                close: None,
            }),
            None => GatewayEvent::Lost(error),
        }
    }

    /// Reads after a Close until the gateway ends the connection. Reading makes the library answer
    /// the Close.
    async fn leave(&mut self) {
        let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
        // The result does not matter any more.
        let _ = timeout(END_TIMEOUT, rest).await;
    }
}

/// Error of a broken connection. Its causes are dropped, because the text of the library includes
/// them.
#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
pub fn lost(error: tungstenite::Error) -> anyhow::Error {
    anyhow::anyhow!("the connection was lost: {error}")
}
