//! Handshake on a new connection to a backend: the client's message, and the backend's answer.

use std::collections::VecDeque;
use std::task::Poll;
use std::time::Duration;

use anyhow::anyhow;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::backend_socket::BackendSocket;
use super::reply::{self, Replies, Reply};
use super::{Promise, WebSocket};
use crate::link::{Downward, OpenError, Refusal};
use session::handshake::ACK;
use wire::frame::{Message, PeerClose};

/// Time that a backend may take to close after it refused a handshake in a message.
const REFUSAL_CLOSE: Duration = Duration::from_secs(1);

/// Connection whose handshake was sent, and may not have been answered yet.
pub(super) struct PendingHandshake {
    pub(super) socket: BackendSocket,
    /// Messages that the backend sent before it answered. The client gets them after its
    /// ack.
    pub(super) early: VecDeque<Downward>,
    early_bytes: usize,
    max_early: usize,
}

impl PendingHandshake {
    /// Sends the client's handshake.
    pub(super) fn begin(mut socket: BackendSocket, greeting: &Bytes, backend: &WebSocket) -> Self {
        socket.writer.text(&introduced(greeting, backend));
        Self {
            socket,
            early: VecDeque::new(),
            early_bytes: 0,
            max_early: backend.max_message,
        }
    }

    /// Waits until the backend has answered the handshake, if it answers handshakes.
    ///
    /// # Errors
    /// If the backend refuses the stream or fails.
    pub(super) async fn answered(&mut self, replies: Replies) -> Result<(), OpenError> {
        if replies == Replies::None {
            return Ok(());
        }
        loop {
            match self.next().await? {
                Message::Text(text) => match Reply::of(&text) {
                    Reply::Ready => return Ok(()),
                    Reply::Refused(refused) => return Err(self.refused(*refused).await),
                    Reply::Other => self.keep(text.len(), Downward::Text(text))?,
                },
                Message::Binary(bytes) => self.keep(bytes.len(), Downward::Binary(bytes))?,
                Message::Close(close) => return Err(closed(close)),
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    }

    async fn next(&mut self) -> Result<Message, OpenError> {
        let broken = |error: anyhow::Error| {
            OpenError::unavailable(
                "the upstream was lost before it was ready",
                error.context("the backend's answer to the handshake"),
            )
        };
        std::future::poll_fn(|cx| {
            let next = self.socket.poll_next(cx);
            // Writes the answers to pings too. A message that came before a failure counts.
            if let Poll::Ready(Err(error)) = self.socket.poll_flush(cx)
                && next.is_pending()
            {
                return Poll::Ready(Err(broken(error.into())));
            }
            next.map_err(|error| broken(error.into()))
        })
        .await
    }

    fn keep(&mut self, bytes: usize, message: Downward) -> Result<(), OpenError> {
        // Empty messages need memory too.
        self.early_bytes += bytes.max(1);
        if self.early_bytes > self.max_early {
            let detail = anyhow!("it sent too much before it answered the handshake");
            return Err(OpenError::unavailable(
                "the upstream does not take streams",
                detail,
            ));
        }
        self.early.push_back(message);
        Ok(())
    }

    /// Refusal by a message. Waits a moment for the Close, because its code matters.
    async fn refused(&mut self, refused: reply::RefusedHandshake) -> OpenError {
        let closing = async {
            loop {
                match self.next().await {
                    Ok(Message::Close(close)) => return close,
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        let close = tokio::time::timeout(REFUSAL_CLOSE, closing)
            .await
            .ok()
            .flatten()
            .unwrap_or_else(|| PeerClose {
                code: refused.close_code.unwrap_or_default(),
                reason: String::new(),
            });
        OpenError::Refused(Refusal {
            message: refused.message.unwrap_or_else(|| close.reason.clone()),
            close,
            code: refused.code,
            retryable: refused.retryable,
        })
    }
}

/// Refusal by a Close without a message.
fn closed(close: Option<PeerClose>) -> OpenError {
    let close = close.unwrap_or_else(|| PeerClose {
        code: 0,
        reason: String::new(),
    });
    let message = if close.reason.is_empty() {
        "the upstream refused the stream".to_owned()
    } else {
        close.reason.clone()
    };
    OpenError::Refused(Refusal {
        close,
        code: None,
        message,
        retryable: false,
    })
}

/// Handshake for the backend: the client's, except for `features`, which are between the client and
/// the gateway. The gateway asks the backend for what it needs itself.
fn introduced(greeting: &Bytes, backend: &WebSocket) -> Bytes {
    const FEATURES: &str = "features";
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(greeting) else {
        return greeting.clone();
    };
    let asked = match backend.receipts {
        Promise::Confirmed => Some(Value::from(vec![ACK])),
        Promise::None | Promise::Sent | Promise::Recorded => None,
    };
    if fields.get(FEATURES) == asked.as_ref() {
        return greeting.clone();
    }
    match asked {
        Some(asked) => fields.insert(FEATURES.to_owned(), asked),
        None => fields.remove(FEATURES),
    };
    Value::Object(fields).to_string().into()
}
