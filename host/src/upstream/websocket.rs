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

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::HeaderName;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::io::split;
use tokio::net::TcpStream;

use self::hold::Held;
use self::link::Relay;
use self::opening::Opening;
use self::reply::Replies;
use self::template::Template;
use self::transport::Transport;
pub use self::transport::Trust;
use super::tee::Tee;
use super::wav::Wav;
use super::{Link, OpenError, StreamInfo, Upstream};
use crate::socket::frame::{FrameReader, FrameWriter};

mod hold;
mod link;
mod marks;
mod opening;
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
    /// What becomes of a stream whose backend is lost.
    pub on_loss: OnLoss,
    /// The folder that streams are recorded in as well, relative to the data
    /// folder.
    pub tee: Option<PathBuf>,
}

/// What becomes of a stream whose backend is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnLoss {
    /// It ends.
    Fail,
    /// It goes on, and waits for the backend to come back.
    Hold(Hold),
}

/// How a stream waits for its backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What a backend is sent that has come back.
    pub replay: Replay,
    /// How long it may be away.
    pub timeout: Duration,
    /// Bytes that are held in memory, beside one message.
    pub memory: usize,
    /// Bytes that are held in a file beyond these.
    pub file: u64,
}

/// Where a stream goes on at a backend that has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Behind what the backend has confirmed.
    Confirmed,
    /// Behind what the backend is known to have read: it is told how much of
    /// what comes it may have had.
    AtLeastOnce,
    /// Behind what the backend was sent: it is told how much it may have missed.
    AtMostOnce,
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
    /// It is recorded as well, and the disk has it.
    Recorded,
}

/// Dials a backend for each stream.
#[derive(Clone)]
pub struct Dialer {
    name: Arc<str>,
    backend: Arc<WebSocket>,
    data_dir: Arc<Path>,
}

impl Upstream for Dialer {
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        self.start(stream).boxed()
    }

    fn outage(&self) -> Duration {
        match &self.backend.on_loss {
            OnLoss::Fail => Duration::ZERO,
            OnLoss::Hold(hold) => hold.timeout,
        }
    }
}

impl Dialer {
    /// Dials the upstream of that name.
    #[must_use]
    pub fn new(name: &str, backend: WebSocket, data_dir: &Path) -> Self {
        Self {
            name: name.into(),
            backend: Arc::new(backend),
            data_dir: data_dir.into(),
        }
    }

    async fn start(&self, stream: StreamInfo) -> Result<Box<dyn Link>, OpenError> {
        let Some(folder) = &self.backend.tee else {
            return self.relay(stream).await;
        };
        // First the recording: it is to be complete even if the backend is not
        // there.
        let recording = Wav::new(self.data_dir.join(folder))
            .open(stream.clone())
            .await?;
        let relay = self.relay(stream).await?;
        Ok(Box::new(Tee::new(recording, relay, &self.backend)))
    }

    async fn relay(&self, stream: StreamInfo) -> Result<Box<dyn Link>, OpenError> {
        match &self.backend.on_loss {
            OnLoss::Hold(hold) if stream.greeting.is_some() => {
                Ok(Box::new(Held::open(self.clone(), hold, stream).await?))
            }
            OnLoss::Hold(_) | OnLoss::Fail => Ok(Box::new(self.dial(&stream, 0).await?)),
        }
    }

    /// A new connection, for a stream from this byte of its audio on.
    async fn dial(&self, stream: &StreamInfo, from: u64) -> Result<Relay, OpenError> {
        let backend = &*self.backend;
        let target = backend
            .url
            .expand(&stream.facts)
            .map_err(|error| OpenError::NoPlace {
                public: "this stream has no place at the upstream".to_owned(),
                detail: error.into(),
            })?;
        let mut transport = self.connect().await.map_err(|detail| {
            OpenError::unavailable("the upstream cannot be reached", self.at(detail))
        })?;
        let request = request::Request::new(backend, &target, stream);
        let received = request.upgrade(&mut transport).await.map_err(|detail| {
            OpenError::unavailable("the upstream does not take streams", self.at(detail))
        })?;
        let (read, write) = split(transport);
        let reader = FrameReader::of_server(read, backend.max_message, received);
        let writer = FrameWriter::to_server(write);
        let Some(greeting) = &stream.greeting else {
            return Ok(Relay::plain(reader, writer, backend));
        };
        let mut opening = Opening::begin(reader, writer, greeting, backend);
        opening.answered(backend.replies).await?;
        Ok(Relay::ingest(opening, backend, stream.receipts, from))
    }

    async fn connect(&self) -> anyhow::Result<Transport> {
        let (host, port) = self.backend.url.host_and_port();
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
            .await
            .context("its name is not known")?
            .collect();
        let tcp = TcpStream::connect(&*addresses).await?;
        // Audio waits for nobody's acknowledgement.
        tcp.set_nodelay(true)?;
        match &self.backend.trust {
            Some(trust) => trust.secure(tcp, host).await,
            None => Ok(Transport::plain(tcp)),
        }
    }

    /// Names the backend to the operator, without what may tell of a client.
    fn at(&self, detail: anyhow::Error) -> anyhow::Error {
        detail.context(format!("the backend {}", self.backend.url.authority()))
    }
}
