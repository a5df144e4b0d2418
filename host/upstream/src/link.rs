//! Where a stream goes: the trait of a link, and the values that pass through it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use session::facts::Facts;
use session::handshake::Handshake;
use session::registry::Client;
use wire::frame::PeerClose;

/// Every upstream by its name in the configuration.
pub type Upstreams = BTreeMap<String, Arc<dyn Upstream>>;

/// One configured destination of streams.
pub trait Upstream: Send + Sync {
    /// Opens a link for one stream. Bounded by the caller's admission budget;
    /// the future may be dropped at any point and must leave nothing behind.
    ///
    /// # Errors
    /// [`OpenError`] when the stream cannot be taken now.
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>>;

    /// Descriptors that one of its links may have open at once.
    fn descriptors(&self) -> u32 {
        0
    }

    /// The longest [`Link::outage`] of its links.
    fn outage(&self) -> Duration {
        Duration::ZERO
    }
}

/// An open stream to an upstream.
///
/// The contract is that of a sink: [`Link::start_send`] may be called once
/// after each [`Link::poll_ready`] that said yes, and [`Link::poll_flush`] is
/// polled before the connection waits. [`Link::poll_event`] is polled all the
/// while, also while the client is away, and is where a link does its work in
/// the background.
pub trait Link: Send {
    /// Ready when the link can take one more message. A link that stays
    /// pending for the route's `write_timeout`, and makes no progress in that
    /// time, is given up.
    ///
    /// # Errors
    /// [`Lost`] when it never will again.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>>;

    /// Takes a message. Never blocks; a failure shows at the next poll.
    fn start_send(&mut self, message: Upward);

    /// Passes on what was taken, as far as that can be done now. Pending while
    /// some is left. A link that gathers messages writes them here, so that
    /// those which came together go together.
    ///
    /// # Errors
    /// [`Lost`] when the link broke.
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    /// Bytes that wait in memory, in either direction.
    fn held(&self) -> usize {
        0
    }

    /// When the upstream last took anything of what the link holds, where that
    /// is known.
    fn last_progress(&self) -> Option<Instant> {
        None
    }

    /// Whether [`Downward::Kept`] comes from this link.
    fn receipts(&self) -> Receipts {
        Receipts::None
    }

    /// How much longer than others the link may be waited for: what is behind it
    /// may go away and come back.
    fn outage(&self) -> Duration {
        Duration::ZERO
    }

    /// The next message from the upstream to the client. Pending for ever
    /// where the upstream never speaks.
    ///
    /// # Errors
    /// [`Lost`] when the link broke.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>>;

    /// The client said that its stream is complete: passes that on, and is
    /// ready once the upstream has taken everything and [`Link::poll_event`]
    /// has nothing more to give. It is sealed after that, or earlier where the
    /// client does not wait.
    ///
    /// # Errors
    /// [`Lost`] when the link broke before that.
    fn poll_complete(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the stream: everything that was taken is made safe as the upstream
    /// promises, then the link is gone. A link that is dropped instead must
    /// still keep what it was given, as well as it can without waiting.
    ///
    /// # Errors
    /// [`Lost`] when some of what was taken could not be kept.
    fn seal(self: Box<Self>, ending: Ending) -> BoxFuture<'static, Result<Sealed, Lost>>;
}

/// What an upstream is told about a stream when it opens.
#[derive(Clone)]
pub struct StreamInfo {
    /// The id of the session in logs and metrics.
    pub session_id: String,
    /// The name of the route.
    pub route: String,
    /// The route's path parameters, percent-decoded: untrusted text.
    pub params: Vec<(String, String)>,
    /// `mic` or `sys`, on routes that speak `ingest.v1`.
    pub source: Option<String>,
    /// The client's handshake, on routes that have one.
    pub handshake: Option<Handshake>,
    /// The same as the client sent it.
    pub greeting: Option<Bytes>,
    /// Whether the client wants to know what is safe.
    pub receipts: Receipts,
    /// What is known of the client, and what policies left.
    pub facts: Arc<Facts>,
    /// Who the client is where failures are counted.
    pub client: Client,
    /// The policies of the route that know who a client is, in the order in which they are asked.
    pub identified_by: Arc<[String]>,
}

impl StreamInfo {
    /// A path parameter by name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A message from the client to the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upward {
    /// A BINARY message: audio, on ingest routes.
    Binary(Bytes),
    /// A TEXT message; guaranteed to be UTF-8.
    Text(Bytes),
    /// What the client said about its stream.
    Control(Control),
}

/// What a client says about its stream while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The client paused; audio that comes all the same is still taken.
    Pause,
    /// The client resumed.
    Resume,
}

/// Whether it is said how much of a stream is safe. Making it safe while the
/// stream runs costs something, so it is done only for those who ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipts {
    /// It is not.
    None,
    /// It is, at least each second in which something became safe.
    Given,
}

/// A message from the upstream to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Downward {
    /// A BINARY message.
    Binary(Bytes),
    /// A TEXT message; guaranteed by the upstream to be UTF-8.
    Text(Bytes),
    /// The upstream's promise holds for so many bytes of BINARY payload, counted
    /// from the beginning of the stream: what that is worth is the upstream's to
    /// say. Only ever grows.
    Kept(u64),
    /// What is behind the upstream went away, and the stream waits for it; or it
    /// is back.
    Upstream(Presence),
    /// The upstream closed the stream. Nothing comes after it.
    Close(PeerClose),
}

/// Whether what is behind an upstream is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Here,
    /// It is not, and is waited for.
    Away,
}

/// How a stream came to its end, as far as an upstream needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The client said that it is complete.
    Complete,
    /// It ended in some other way; what arrived is all there will be. Says why,
    /// for upstreams that can be told.
    Cut(PeerClose),
}

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed {
    /// Bytes of BINARY payload that the upstream has taken.
    pub bytes: u64,
}

/// Why an upstream could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not to be had; it may be later.
    #[error("{public}")]
    Unavailable {
        /// A short sentence for the client; no paths, no addresses.
        public: String,
        /// Everything that the operator needs.
        #[source]
        detail: anyhow::Error,
    },
    /// It has no place for such a stream, and never will.
    #[error("{public}")]
    NoPlace {
        /// As above.
        public: String,
        /// As above.
        #[source]
        detail: anyhow::Error,
    },
    /// It refused this stream in its own words.
    #[error("{}", .0.message)]
    Refused(Refusal),
}

/// The words in which an upstream refuses a stream. They are not the host's,
/// and go to the client within the same bounds as a policy's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it closed with.
    pub close: PeerClose,
    /// A short machine-readable word, where it said one.
    pub code: Option<String>,
    /// A sentence for the client; the reason of its Close without one.
    pub message: String,
    /// Whether the same client may try again.
    pub retryable: bool,
}

/// Why an open link was lost.
#[derive(Debug, thiserror::Error)]
#[error("{public}")]
pub struct Lost {
    /// A short sentence for the client; no paths, no addresses.
    pub public: String,
    /// Everything that the operator needs.
    #[source]
    pub detail: anyhow::Error,
}

impl OpenError {
    /// It is not to be had now.
    pub fn unavailable(public: impl Into<String>, detail: impl Into<anyhow::Error>) -> Self {
        Self::Unavailable {
            public: public.into(),
            detail: detail.into(),
        }
    }
}

impl Lost {
    /// The link broke.
    pub fn new(public: impl Into<String>, detail: impl Into<anyhow::Error>) -> Self {
        Self {
            public: public.into(),
            detail: detail.into(),
        }
    }
}

/// Without the facts, which hold the client's credentials.
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
