//! A backend that speaks WebSocket: each stream is relayed over a connection of
//! its own.
//!
//! The backend is dialled once the client was admitted, with an address made
//! from a [`Template`] and with headers that say who the client is. It gets the
//! client's handshake as the client sent it, then audio and control messages,
//! and whatever it says goes to the client, in order. Its answer to the
//! handshake and its confirmation of the end are the host's business: they are
//! consumed, and the host's own stand in their place.
//!
//! Either side holds the other back by TCP alone: what waits for the backend is
//! bounded by `max_buffer` and one message, what waits for the client by the
//! route's `max_outbound` and one message.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::http::HeaderName;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::io::split;
use tokio::net::TcpStream;

use self::link::Relay;
use self::reply::{Replies, Reply};
use self::template::Template;
use self::transport::Transport;
pub use self::transport::Trust;
use super::{Downward, Link, OpenError, Refusal, StreamInfo, Upstream};
use crate::socket::frame::{FrameReader, FrameWriter, Message, PeerClose};

mod link;
mod receipts;
pub mod reply;
mod request;
pub mod template;
mod transport;

/// The last part of an attribute's header: many servers drop headers with
/// underscores.
#[must_use]
pub fn header_word(attribute: &str) -> String {
    attribute.to_ascii_lowercase().replace(['.', '_'], "-")
}

/// How long a backend that refused a handshake in a message may take to close.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A backend, as it is configured.
#[derive(Debug, Clone)]
pub struct WebSocket {
    /// The address of a stream.
    pub url: Template,
    /// The attribute that names the client's user.
    pub user: String,
    /// The attribute that names the client's tenant.
    pub tenant: String,
    /// More attributes that the backend is told.
    pub attributes: Vec<String>,
    /// Headers of the client that the backend gets.
    pub forward_headers: Vec<HeaderName>,
    /// Whether the backend gets the client's token.
    pub token: Token,
    /// What the backend answers.
    pub replies: Replies,
    /// What it means that something is safe with the backend.
    pub receipts: Promise,
    /// Whom to trust, for `wss://`.
    pub trust: Option<Trust>,
    /// Bytes of the longest message that is taken from the backend.
    pub max_message: usize,
    /// Bytes that may wait for the backend before the client is held back; one
    /// message may go past it.
    pub max_buffer: usize,
    /// How long the backend may give no sign of life.
    pub silence_timeout: Duration,
}

/// What becomes of the client's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// It goes no further than the host.
    Withheld,
    /// The backend gets it, as `Authorization: Bearer`.
    Forwarded,
}

/// What the client's `ack` promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// There is none: clients that ask for it get no `ack`.
    None,
    /// The kernel has taken it, to send it to the backend.
    Sent,
    /// The backend has confirmed it, with `{"type":"ack","bytes":N}`.
    Confirmed,
}

impl Upstream for WebSocket {
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        async move {
            let link: Box<dyn Link> = Box::new(self.relay(&stream).await?);
            Ok(link)
        }
        .boxed()
    }
}

impl WebSocket {
    async fn relay(&self, stream: &StreamInfo) -> Result<Relay, OpenError> {
        let target = self
            .url
            .expand(&stream.facts)
            .map_err(|error| OpenError::NoPlace {
                public: "this stream has no place at the upstream".to_owned(),
                detail: error.into(),
            })?;
        let mut transport = self.dial().await.map_err(|detail| {
            OpenError::unavailable("the upstream cannot be reached", self.at(detail))
        })?;
        let request = request::Request::new(self, &target, stream);
        let received = request.upgrade(&mut transport).await.map_err(|detail| {
            OpenError::unavailable("the upstream does not take streams", self.at(detail))
        })?;
        let (read, write) = split(transport);
        let reader = FrameReader::of_server(read, self.max_message, received);
        let mut writer = FrameWriter::to_server(write);
        let Some(greeting) = &stream.greeting else {
            return Ok(Relay::plain(reader, writer, self));
        };
        writer.text(greeting);
        let mut opening = Opening {
            reader,
            writer,
            early: VecDeque::new(),
            early_bytes: 0,
            max_early: self.max_message,
        };
        if self.replies == Replies::Expected {
            opening.answer().await?;
        }
        let Opening {
            reader,
            writer,
            early,
            ..
        } = opening;
        Ok(Relay::ingest(reader, writer, early, self, stream.receipts))
    }

    async fn dial(&self) -> anyhow::Result<Transport> {
        let (host, port) = self.url.host_and_port();
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
            .await
            .context("its name is not known")?
            .collect();
        let tcp = TcpStream::connect(&*addresses).await?;
        // Audio waits for nobody's acknowledgement.
        tcp.set_nodelay(true)?;
        match &self.trust {
            Some(trust) => trust.secure(tcp, host).await,
            None => Ok(Transport::plain(tcp)),
        }
    }

    /// Names the backend to the operator, without what may tell of a client.
    fn at(&self, detail: anyhow::Error) -> anyhow::Error {
        detail.context(format!("the backend {}", self.url.authority()))
    }
}

/// A connection whose handshake was sent and may be unanswered.
struct Opening {
    reader: FrameReader<transport::Reading>,
    writer: FrameWriter<transport::Writing>,
    /// What the backend said before it answered: the client gets it after its
    /// ack.
    early: VecDeque<Downward>,
    early_bytes: usize,
    max_early: usize,
}

impl Opening {
    /// Waits until the backend has answered the handshake.
    async fn answer(&mut self) -> Result<(), OpenError> {
        loop {
            match self.next().await? {
                Message::Text(text) => match Reply::of(&text) {
                    Reply::Ready => return Ok(()),
                    Reply::Refused(refused) => return Err(self.refused(*refused).await),
                    Reply::Other => self.keep(text.len(), Downward::Text(text))?,
                },
                Message::Binary(bytes) => self.keep(bytes.len(), Downward::Binary(bytes))?,
                Message::Close(close) => return Err(closed(close)),
                Message::Ping(payload) => self.writer.pong(&payload),
                Message::Pong => {}
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
            if let std::task::Poll::Ready(Err(error)) = self.writer.poll_flush(cx) {
                return std::task::Poll::Ready(Err(broken(error.into())));
            }
            self.reader
                .poll_next(cx)
                .map_err(|error| broken(error.into()))
        })
        .await
    }

    fn keep(&mut self, bytes: usize, message: Downward) -> Result<(), OpenError> {
        // Empty messages are not free either.
        self.early_bytes += bytes.max(1);
        if self.early_bytes > self.max_early {
            let detail = anyhow!("it said too much before it answered the handshake");
            return Err(OpenError::unavailable(
                "the upstream does not take streams",
                detail,
            ));
        }
        self.early.push_back(message);
        Ok(())
    }

    /// The backend refused in a message. What code it closes with is worth a
    /// moment.
    async fn refused(&mut self, refused: reply::Refused) -> OpenError {
        let closing = async {
            loop {
                match self.next().await {
                    Ok(Message::Close(close)) => return close,
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        let close = tokio::time::timeout(LAST_WORDS, closing)
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

/// The backend refused with its Close alone.
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
