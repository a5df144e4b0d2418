//! Upstream that keeps streams in NATS `JetStream`: each stream is a chain of messages in a subject
//! of its own.
//!
//! What the client is told is safe was acknowledged by `JetStream`. One message is on its way at a
//! time. Audio that comes meanwhile is gathered, and becomes the next message. So a message holds
//! what came in one round trip, and a slow server gets fewer and larger ones.
//!
//! While the servers are away, the stream goes on and its audio is held in memory. When that is
//! full, the client is held back by TCP. When the servers stay away for too long, the stream ends.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use cluster::chain::{Chain, ChainError};
use cluster::space::{Kind, Space};
use cluster::{Away, Cluster, Place as ChainPlace};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use session::handshake::Handshake;
use tokio::time::timeout;

use self::link::ChainLink;
use crate::link::{Link, OpenError, Place, Reopened, StreamInfo, Upstream};

mod about;
mod acks;
mod link;
mod subject;

/// Time limit for the first message of a stream. A client that is refused early comes back to
/// another gateway, or later.
const OPENING: Duration = Duration::from_secs(2);

/// Smallest size of a message with which streams are kept, in bytes.
const MIN_MESSAGE: usize = 4 * 1024;

/// `[upstreams.NAME]` with `kind = "jetstream"`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JetStream {
    /// Number of streams of `JetStream` that the chains are spread over.
    pub partitions: u32,
    /// Maximum size of each of them, in bytes.
    pub max_bytes: u64,
    /// Time after which audio is removed.
    pub max_age: Duration,
    /// How long a stream goes on without the servers.
    pub hold: Hold,
}

/// Limits of a stream while the servers are away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// How long they may be away.
    pub timeout: Duration,
    /// How much of its audio is held, in bytes.
    pub memory: usize,
}

/// Upstream that keeps streams in `JetStream`.
pub struct Publisher {
    name: String,
    settings: JetStream,
    cluster: Cluster,
}

impl Publisher {
    /// Upstream with this name.
    #[must_use]
    pub fn new(name: &str, settings: JetStream, cluster: Cluster) -> Self {
        Self {
            name: name.to_owned(),
            settings,
            cluster,
        }
    }

    /// Stream of `JetStream` with this number.
    fn space(&self, partition: u32) -> Space {
        let prefix = &self.cluster.settings().prefix;
        Space {
            kind: Kind::Chains,
            name: subject::space(prefix, &self.name, partition),
            subjects: subject::all(prefix, &self.name, partition),
            max_bytes: self.settings.max_bytes,
            max_age: self.settings.max_age,
        }
    }

    /// Begins a chain. A gateway that has lost its server is with another one within a moment, so
    /// newcomers wait for that.
    async fn begin(&self, stream: StreamInfo) -> Result<Box<dyn Link>, OpenError> {
        let handshake = handshake(&stream).map_err(unavailable)?;
        let partition = subject::partition(&stream, self.settings.partitions);
        let space = self.space(partition);
        let prefix = &self.cluster.settings().prefix;
        let place = ChainPlace {
            space: space.name.clone(),
            subject: subject::subject(prefix, &self.name, partition, &stream),
        };
        let about = about::about(&stream, handshake);
        let begin = async {
            self.cluster.connected().await?;
            self.cluster.ensure(&space).await?;
            let begun = Chain::begin(self.cluster.clone(), place, about).await;
            begun.map_err(anyhow::Error::from)
        };
        let chain = match timeout(OPENING, begin).await {
            Ok(begun) => begun.map_err(not_begun)?,
            Err(_) if !self.cluster.is_connected() => return Err(not_begun(Away::NotConnected)),
            Err(_) => return Err(not_begun(Away::Slow(OPENING))),
        };
        Ok(Box::new(self.link(chain, &stream)))
    }

    async fn take(
        &self,
        stream: StreamInfo,
        place: ChainPlace,
        writer: Option<String>,
    ) -> Result<Reopened, OpenError> {
        let handshake = handshake(&stream).map_err(unavailable)?;
        let about = about::about(&stream, handshake);
        let cluster = self.cluster.clone();
        let chain = Chain::take_from(cluster, place, about, writer.as_deref()).await;
        let chain = chain.map_err(|error| match error {
            // Another gateway was quicker. The client may take the stream from that one.
            ChainError::TakenOver if writer.is_none() => OpenError::Away(error.into()),
            ChainError::TakenOver | ChainError::Ended(_) | ChainError::Gone(_) => {
                OpenError::NoPlace {
                    public: "the stream is gone".to_owned(),
                    detail: error.into(),
                }
            }
            ChainError::Refused(_) => unavailable(error),
        })?;
        let bytes = chain.bytes();
        let link = Box::new(self.link(chain, &stream));
        Ok(Reopened { link, bytes })
    }

    fn link(&self, chain: Chain, stream: &StreamInfo) -> ChainLink {
        stream.destination.is_with(None);
        ChainLink::new(&self.name, chain, self.settings.hold, stream)
    }
}

fn handshake(stream: &StreamInfo) -> anyhow::Result<&Handshake> {
    stream.handshake.as_ref().with_context(|| {
        format!(
            "route \"{}\" has no handshake, which readers need: set handshake = \"ingest.v1\"",
            stream.route
        )
    })
}

/// Why a stream does not begin. It may be tried again soon if the servers are only away.
fn not_begun(error: impl Into<anyhow::Error>) -> OpenError {
    let error = error.into();
    match error.downcast_ref() {
        Some(Away::NotConnected | Away::Slow(_)) => OpenError::Away(error),
        _ => unavailable(error),
    }
}

fn unavailable(error: impl Into<anyhow::Error>) -> OpenError {
    OpenError::unavailable("the stream cannot be stored now", error)
}

impl Upstream for Publisher {
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        self.begin(stream).boxed()
    }

    fn reopen(
        &self,
        stream: StreamInfo,
        place: Place,
    ) -> BoxFuture<'_, Result<Reopened, OpenError>> {
        match place {
            Place::Chain { at, writer } => self.take(stream, at, writer).boxed(),
            Place::Recording(_) => {
                let detail = anyhow!("it was recorded in a file, and the upstream is now NATS");
                let gone = OpenError::unavailable("the stream is gone", detail);
                std::future::ready(Err(gone)).boxed()
            }
        }
    }

    fn check(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        async {
            for partition in 0..self.settings.partitions {
                let space = self.space(partition);
                self.cluster.ensure(&space).await?;
                if let Some(refusal) = self.cluster.refusal(&space.name) {
                    anyhow::bail!("{} takes nothing: {refusal}", space.name);
                }
            }
            let max = self.cluster.max_message();
            anyhow::ensure!(
                max >= MIN_MESSAGE,
                "NATS takes messages of {max} bytes, and {MIN_MESSAGE} are needed: raise `max_payload`"
            );
            match self.cluster.is_connected() {
                true => Ok(()),
                false => Err(Away::NotConnected.into()),
            }
        }
        .boxed()
    }

    fn outage(&self) -> Duration {
        self.settings.hold.timeout
    }
}
