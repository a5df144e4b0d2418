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

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::http::{HeaderName, StatusCode};
use bytes::BytesMut;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::io::split;
use tokio::net::TcpStream;

use self::backends::{Address, Backends, Rest, Seat};
use self::hold::Held;
use self::link::Relay;
use self::opening::Opening;
use self::pool::Pool;
use self::reply::Replies;
use self::template::Template;
use self::transport::Transport;
pub use self::transport::Trust;
use super::tee::Tee;
use super::wav::Wav;
use super::{Link, OpenError, StreamInfo, Upstream};
use crate::socket::frame::{FrameReader, FrameWriter};

pub mod backends;
mod hold;
mod link;
mod marks;
mod opening;
mod pool;
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
    /// Where it listens; what `url` names, where there are none.
    pub addresses: Vec<(String, u16)>,
    /// When an address is left alone.
    pub rest: Rest,
    /// Connections to each address that are made before they are needed.
    pub warm_connections: usize,
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
    backends: Arc<Backends>,
    pool: Arc<Pool>,
    data_dir: Arc<Path>,
}

/// A backend that has answered an upgrade with 101.
struct Upgraded {
    transport: Transport,
    /// What came behind its answer.
    received: BytesMut,
    seat: Seat,
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
        let mut addresses = backend.addresses.clone();
        if addresses.is_empty() {
            let (host, port) = backend.url.host_and_port();
            addresses.push((host.to_owned(), port));
        }
        Self {
            name: name.into(),
            backends: Backends::of(name, addresses),
            pool: Pool::new(backend.warm_connections),
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
        let Upgraded {
            transport,
            received,
            seat,
        } = self.upgrade(&target, stream).await?;
        let (read, write) = split(transport);
        let reader = FrameReader::of_server(read, backend.max_message, received);
        let writer = FrameWriter::to_server(write);
        let Some(greeting) = &stream.greeting else {
            return Ok(Relay::plain(reader, writer, backend, seat));
        };
        let mut opening = Opening::begin(reader, writer, greeting, backend);
        opening.answered(backend.replies).await?;
        Ok(Relay::ingest(opening, backend, stream.receipts, from, seat))
    }

    /// Upgrades a connection to the first address that takes it.
    async fn upgrade(&self, target: &str, stream: &StreamInfo) -> Result<Upgraded, OpenError> {
        let rest = self.backend.rest;
        let mut why = None;
        for address in self.backends.in_order() {
            let Some(attempt) = self.backends.attempt(address) else {
                continue;
            };
            match self.upgrade_at(&attempt.address, target, stream).await {
                Ok((transport, received)) => {
                    self.warm_up(&attempt.address);
                    return Ok(Upgraded {
                        transport,
                        received,
                        seat: attempt.succeeded(),
                    });
                }
                Err(Failure {
                    refused: Some(status),
                    detail,
                    ..
                }) if status.is_client_error() => {
                    // It works, and does not want this stream.
                    drop(attempt.succeeded());
                    return Err(OpenError::unavailable(REFUSED, detail));
                }
                Err(Failure { public, detail, .. }) => {
                    attempt.failed(rest);
                    tracing::debug!(
                        upstream = &*self.name,
                        ?detail,
                        "an address of the backend failed"
                    );
                    why = Some(OpenError::unavailable(public, detail));
                }
            }
        }
        Err(why.unwrap_or_else(|| {
            let detail = anyhow!(
                "it failed {} times in a row, and is left alone for {:?}",
                rest.after,
                rest.lasts
            );
            OpenError::unavailable(UNREACHABLE, self.at(detail))
        }))
    }

    async fn upgrade_at(
        &self,
        address: &Address,
        target: &str,
        stream: &StreamInfo,
    ) -> Result<(Transport, BytesMut), Failure> {
        let at = |detail: anyhow::Error| {
            let Address { host, port, .. } = address;
            detail.context(format!("the backend {host}:{port}"))
        };
        let request = || request::Request::new(&self.backend, target, stream);
        if let Some(mut transport) = self.pool.take(address)
            && let Ok(received) = self.bounded(request().upgrade(&mut transport)).await
        {
            return Ok((transport, received));
        }
        // One that waited too long may be dead all the same, and says nothing
        // about its backend.
        let connecting = self.bounded(self.connect(address));
        let mut transport = connecting.await.map_err(|error| Failure {
            public: UNREACHABLE,
            refused: None,
            detail: at(error),
        })?;
        let received = self.bounded(request().upgrade(&mut transport)).await;
        let received = received.map_err(|error| Failure {
            public: REFUSED,
            refused: error
                .downcast_ref::<request::Answered>()
                .map(|answer| answer.0),
            detail: at(error),
        })?;
        Ok((transport, received))
    }

    async fn connect(&self, address: &Address) -> anyhow::Result<Transport> {
        let Address { host, port, .. } = address;
        let found = tokio::net::lookup_host((host.as_str(), *port)).await;
        let found: Vec<_> = found.context("its name is not known")?.collect();
        let tcp = TcpStream::connect(&*found).await?;
        // Audio waits for nobody's acknowledgement.
        tcp.set_nodelay(true)?;
        match &self.backend.trust {
            // Whoever listens there has to be who the URL says.
            Some(trust) => trust.secure(tcp, self.backend.url.host_and_port().0).await,
            None => Ok(Transport::plain(tcp)),
        }
    }

    async fn bounded<T>(&self, step: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let limit = STEPS
            / u32::try_from(self.backends.len())
                .unwrap_or(u32::MAX)
                .max(1);
        let in_time = tokio::time::timeout(limit, step).await;
        in_time.with_context(|| format!("it took longer than {limit:?}"))?
    }

    /// Makes the connections that the next streams will need.
    fn warm_up(&self, address: &Arc<Address>) {
        while let Some(coming) = self.pool.lacks(address) {
            let (dialer, address) = (self.clone(), Arc::clone(address));
            tokio::spawn(async move {
                if let Ok(transport) = dialer.bounded(dialer.connect(&address)).await {
                    coming.arrived(transport);
                }
            });
        }
    }

    /// Names the backend to the operator, without what may tell of a client.
    fn at(&self, detail: anyhow::Error) -> anyhow::Error {
        detail.context(format!("the backend {}", self.backend.url.authority()))
    }
}

const UNREACHABLE: &str = "the upstream cannot be reached";
const REFUSED: &str = "the upstream does not take streams";
/// How long one step towards a backend may take: all of its addresses get their
/// turn before the host's own time is over.
const STEPS: Duration = Duration::from_millis(3500);

/// Why an address did not take a stream.
struct Failure {
    public: &'static str,
    /// What it answered, if that was HTTP.
    refused: Option<StatusCode>,
    detail: anyhow::Error,
}
