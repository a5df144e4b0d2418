//! Links: the trait, and the values that pass through it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::destination::{Destination, Presence};
use crate::status::BackendAddress;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use session::facts::Facts;
use session::handshake::Handshake;
use session::registry::Client;
use wire::frame::PeerClose;

/// All upstreams, by their names in the configuration.
pub type Upstreams = BTreeMap<String, Arc<dyn Upstream>>;

/// Configured destination of streams.
pub trait Upstream: Send + Sync {
    /// Opens a link for one stream. The caller limits the time for it. The future may be dropped at
    /// any point, and must then leave nothing behind.
    ///
    /// # Errors
    /// [`OpenError`] if the upstream cannot take the stream now.
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>>;

    /// Maximum number of descriptors that one link has open at once.
    fn descriptors(&self) -> u32 {
        0
    }

    /// Opens the link of a stream that an earlier process had, at what [`Link::place`] said there.
    ///
    /// # Errors
    /// [`OpenError`] if the stream cannot go on.
    fn reopen(&self, _: StreamInfo, _: Place) -> BoxFuture<'_, Result<Reopened, OpenError>> {
        let detail = anyhow::anyhow!("this kind of upstream cannot go on after a restart");
        std::future::ready(Err(OpenError::unavailable("the stream is gone", detail))).boxed()
    }

    /// Checks whether it could take a stream now. It may take as long as its disk or network does.
    ///
    /// # Errors
    /// Why it could not, for the operator.
    fn check(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        std::future::ready(Ok(())).boxed()
    }

    /// Addresses of its backend, with their load and health.
    fn backends(&self) -> Vec<BackendAddress> {
        Vec::new()
    }

    /// Maximum of [`Link::outage`] over its links.
    fn outage(&self) -> Duration {
        Duration::ZERO
    }
}

/// Open stream to an upstream.
///
/// The contract is that of a sink: the caller may call [`Link::start_send`] once after each
/// [`Link::poll_ready`] that returned ready, and polls [`Link::poll_flush`] before the connection
/// waits. It polls [`Link::poll_event`] all the time, also while the client is away, so a link does
/// its background work there.
pub trait Link: Send {
    /// Ready if the link can take one more message. The gateway ends a stream whose link stays
    /// pending, without progress, for the route's `write_timeout`.
    ///
    /// # Errors
    /// [`Lost`] if the link never becomes ready again.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>>;

    /// Takes a message. Never blocks; an error is returned by the next poll.
    fn start_send(&mut self, message: Upward);

    /// Writes what was taken, as far as possible now. Pending while some is left. A link that
    /// batches messages writes them here, so that messages which came together are sent together.
    ///
    /// # Errors
    /// [`Lost`] if the link failed.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    /// Number of bytes that wait in memory, in either direction.
    fn held(&self) -> usize {
        0
    }

    /// Time when the upstream last accepted bytes that the link holds, if it is known.
    fn last_progress(&self) -> Option<Instant> {
        None
    }

    /// Whether this link returns [`Downward::Kept`].
    fn receipts(&self) -> Receipts {
        Receipts::None
    }

    /// Where another process can go on with this stream, from what the client was told is safe.
    /// `None` if only this process can.
    fn place(&self) -> Option<Place> {
        None
    }

    /// Time that the gateway waits for this link in addition to the usual timeouts, because its
    /// backend may go away and come back.
    fn outage(&self) -> Duration {
        Duration::ZERO
    }

    /// Next message from the upstream to the client. Stays pending if the upstream never sends any.
    ///
    /// # Errors
    /// [`Lost`] if the link failed.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>>;

    /// Completes the stream, because the client finalized it. Ready once the upstream has taken
    /// everything and [`Link::poll_event`] has nothing more to return. The link is sealed after
    /// that, or earlier if the client does not wait.
    ///
    /// # Errors
    /// [`Lost`] if the link failed before that.
    fn poll_complete(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the stream. Makes everything that was taken safe, as the upstream promises, and closes
    /// the link. A link that is dropped instead must still save what it can without waiting.
    ///
    /// # Errors
    /// [`Lost`] if some of what was taken could not be saved.
    fn seal(self: Box<Self>, ending: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>>;
}

/// Where a process can go on with the stream of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A recording, by its path below the folder of its upstream.
    Recording(PathBuf),
    /// A chain in NATS `JetStream`.
    Chain {
        /// Where it is.
        at: cluster::Place,
        /// Name of its writer, if nobody else may have gone on with it.
        writer: Option<String>,
    },
}

/// Link of a stream that another process had.
pub struct Reopened {
    /// The link.
    pub link: Box<dyn Link>,
    /// Number of bytes of audio that it has.
    pub bytes: u64,
}

/// Information about a stream, for an upstream that opens it.
#[derive(Clone)]
pub struct StreamInfo {
    /// Session id in logs and metrics.
    pub session_id: String,
    /// Name of the route.
    pub route: String,
    /// Path parameters of the route, percent-decoded. They are untrusted text.
    pub params: Vec<(String, String)>,
    /// `mic` or `sys`, on routes that speak `ingest.v1`.
    pub source: Option<String>,
    /// The client's handshake, on routes that have one.
    pub handshake: Option<Handshake>,
    /// The client's handshake as it was sent.
    pub greeting: Option<Bytes>,
    /// Whether the client wants acks.
    pub receipts: Receipts,
    /// Facts about the client, with the attributes that policies set.
    pub facts: Arc<Facts>,
    /// Identity of the client for counting failures.
    pub client: Client,
    /// Policies of the route that identify users, in the order in which they are called.
    pub identified_by: Arc<[String]>,
    /// Where the link says which backend and which file the stream has.
    pub destination: Arc<Destination>,
    /// Value of the header `traceparent` for a backend, if the gateway traces the connection.
    pub traceparent: Option<String>,
}

impl StreamInfo {
    /// Path parameter by name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Message from the client to the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upward {
    /// BINARY message: audio, on ingest routes.
    Binary(Bytes),
    /// TEXT message, valid UTF-8.
    Text(Bytes),
    /// Control message about the stream.
    Control(Control),
}

/// Control message of a client about its running stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The client paused. Audio that still comes is accepted.
    Pause,
    /// The client resumed.
    Resume,
}

/// Whether the client is told how much of its stream is safe. Making it safe while the stream runs
/// is expensive, so it is done only for clients that ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipts {
    /// The client gets no acks.
    None,
    /// The client gets an ack at least each second in which more became safe.
    Given,
}

/// Message from the upstream to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Downward {
    /// BINARY message.
    Binary(Bytes),
    /// TEXT message. The upstream guarantees that it is UTF-8.
    Text(Bytes),
    /// Number of bytes of BINARY payload, from the beginning of the stream, that are safe as the
    /// upstream promises. Only grows.
    Kept(u64),
    /// The backend went away, and the stream waits for it; or it is back.
    Upstream(Presence),
    /// The upstream closed the stream. Nothing follows.
    Close(PeerClose),
    /// Another gateway goes on with the stream. Nothing follows.
    TakenOver,
}

/// End of a stream, as far as an upstream must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// The client finalized the stream.
    Complete,
    /// The stream ended in another way, and no more data comes. Holds the close code and reason,
    /// for upstreams that can be told.
    Cut(PeerClose),
    /// Another process goes on with the stream, at [`Link::place`].
    Left,
}

/// Result of a sealed stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed {
    /// Number of bytes of BINARY payload that the upstream has taken.
    pub bytes: u64,
}

/// Reason why an upstream could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The upstream is unavailable now, and may be available later.
    #[error("{public}")]
    Unavailable {
        /// Short sentence for the client, without paths and addresses.
        public: String,
        /// Details for the operator.
        #[source]
        detail: anyhow::Error,
    },
    /// The servers that the upstream shares with other gateways cannot be reached when a stream begins,
    /// or another gateway has taken the stream in the same moment.
    #[error("{0}")]
    Away(anyhow::Error),
    /// The upstream can never take such a stream.
    #[error("{public}")]
    NoPlace {
        /// Short sentence for the client, without paths and addresses.
        public: String,
        /// Details for the operator.
        #[source]
        detail: anyhow::Error,
    },
    /// The upstream refused this stream.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

/// Refusal by an upstream. Its text is not the gateway's, and has the same limits as a policy's
/// before it reaches the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Close of the upstream.
    pub close: PeerClose,
    /// Short machine-readable code, if the upstream sent one.
    pub code: Option<String>,
    /// Sentence for the client; the reason of the Close if there is no other.
    pub message: String,
    /// Whether the same client may try again.
    pub retryable: bool,
}

/// Error of an open link.
#[derive(Debug, thiserror::Error)]
#[error("{public}")]
pub struct Lost {
    /// Short sentence for the client, without paths and addresses.
    pub public: String,
    /// Details for the operator.
    #[source]
    pub detail: anyhow::Error,
}

/// Detail of a [`Lost`] link whose stream goes on elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("another gateway goes on with the stream")]
pub struct TakenOver;

impl OpenError {
    /// The upstream is unavailable now.
    pub fn unavailable(public: impl Into<String>, detail: impl Into<anyhow::Error>) -> Self {
        Self::Unavailable {
            public: public.into(),
            detail: detail.into(),
        }
    }
}

impl Lost {
    /// The link failed.
    pub fn new(public: impl Into<String>, detail: impl Into<anyhow::Error>) -> Self {
        Self {
            public: public.into(),
            detail: detail.into(),
        }
    }
}

/// Leaves out the facts, which hold the client's credentials.
impl fmt::Debug for StreamInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamInfo")
            .field("session_id", &self.session_id)
            .field("route", &self.route)
            .field("params", &self.params)
            .field("source", &self.source)
            .field("handshake", &self.handshake)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for dyn Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}
