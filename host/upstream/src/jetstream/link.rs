//! Link of one stream, which gathers audio and appends it to a chain.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::anyhow;
use bytes::BytesMut;
use cluster::chain::{Chain, ChainError};
use cluster::record::Fin;
use cluster::{Cluster, Place as ChainPlace};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, poll_fn};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::Hold;
use super::acks::Acks;
use crate::destination::{Destination, Presence};
use crate::link::{
    Downward, Link, Lost, Place, Receipts, Sealed, StreamEnd, StreamInfo, TakenOver, Upward,
};
use base::metrics;

/// Time without an acknowledgement after which the client is told that the servers are away.
const AWAY: Duration = Duration::from_secs(2);

/// Link of one stream.
///
/// A message that is on its way is a future, which the task of the connection polls. A stream that
/// is silent holds no timer and no future.
pub(super) struct ChainLink {
    /// Name of the upstream, for metrics.
    upstream: Arc<str>,
    cluster: Cluster,
    place: ChainPlace,
    /// Name of this gateway as the writer of the chain.
    name: Arc<str>,
    destination: Arc<Destination>,
    hold: Hold,
    gathered: BytesMut,
    /// Number of bytes that were taken from the client.
    taken: u64,
    acks: Acks,
    writer: Writer,
    /// State of the servers that the client was last told.
    believed: Presence,
    /// Time of the last acknowledgement.
    progress: Instant,
}

/// Who has the chain.
enum Writer {
    /// Nothing is on its way.
    Idle(Chain),
    /// A message is on its way.
    Writing(Box<Writing>),
    /// Another gateway has taken the chain over.
    TakenOver,
    /// The chain cannot be written any more, for this reason.
    Failed(Arc<str>),
}

/// Message that is on its way.
struct Writing {
    bytes: usize,
    done: BoxFuture<'static, (Chain, Result<(), ChainError>)>,
    /// When the servers count as away, and when they have been so for too long.
    overdue: Pin<Box<Sleep>>,
    presence: Presence,
}

impl ChainLink {
    /// Link of a stream that goes on behind what the chain has.
    pub(super) fn new(upstream: &str, chain: Chain, hold: Hold, stream: &StreamInfo) -> Self {
        Self {
            upstream: upstream.into(),
            cluster: chain.cluster().clone(),
            place: chain.place().clone(),
            name: chain.writer().into(),
            destination: Arc::clone(&stream.destination),
            hold,
            gathered: BytesMut::new(),
            taken: chain.bytes(),
            acks: Acks::new(stream.receipts, chain.bytes()),
            writer: Writer::Idle(chain),
            believed: Presence::Here,
            progress: Instant::now(),
        }
    }

    /// Takes the result of a message that is on its way. Ready if none is.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if let Writer::Writing(writing) = &mut self.writer {
            match writing.done.poll_unpin(cx) {
                Poll::Ready((chain, result)) => {
                    self.has_written(chain, result);
                    // There may be something to tell, and the task may not be about to ask.
                    cx.waker().wake_by_ref();
                }
                Poll::Pending => {
                    ready!(writing.overdue.poll_unpin(cx));
                    return self.is_overdue(cx);
                }
            }
        }
        match &self.writer {
            Writer::Failed(why) => Poll::Ready(Err(lost(why))),
            Writer::Idle(_) | Writer::TakenOver | Writer::Writing(_) => Poll::Ready(Ok(())),
        }
    }

    fn has_written(&mut self, chain: Chain, result: Result<(), ChainError>) {
        match result {
            Ok(()) => {
                self.progress = Instant::now();
                self.acks.is_safe(chain.bytes());
                self.writer = Writer::Idle(chain);
            }
            Err(ChainError::TakenOver) => self.writer = Writer::TakenOver,
            Err(error) => self.writer = Writer::Failed(error.to_string().into()),
        }
    }

    /// The servers are away, or have been so for too long.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let Writer::Writing(writing) = &mut self.writer else {
            return Poll::Ready(Ok(()));
        };
        match writing.presence {
            Presence::Here => {
                writing.presence = Presence::Away;
                metrics::upstream_lost(&self.upstream);
                self.destination.is_without_backend();
                writing.overdue = Box::pin(sleep(self.hold.timeout.saturating_sub(AWAY)));
                // Polls the new timer, and tells the client.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Presence::Away => {
                metrics::upstream_given_up(&self.upstream);
                let mut why = format!("NATS took nothing for {:?}", self.hold.timeout);
                if let Some(refusal) = self.cluster.refusal(&self.place.space) {
                    why = format!("{why}: {refusal}");
                }
                let lost = lost(&why);
                self.writer = Writer::Failed(why.into());
                Poll::Ready(Err(lost))
            }
        }
    }

    /// Appends what is gathered, if nothing is on its way. Ready once everything is safe.
    fn poll_append(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        loop {
            ready!(self.poll_written(cx))?;
            if self.gathered.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let before = std::mem::replace(&mut self.writer, Writer::TakenOver);
            let Writer::Idle(mut chain) = before else {
                // What another gateway has is no longer ours to write.
                return Poll::Ready(Ok(()));
            };
            let size = self.gathered.len().min(self.cluster.max_message());
            let audio = self.gathered.split_to(size).freeze();
            let done = async move {
                let result = chain.append(audio).await;
                (chain, result)
            };
            self.writer = Writer::Writing(Box::new(Writing {
                bytes: size,
                done: done.boxed(),
                overdue: Box::pin(sleep(AWAY.min(self.hold.timeout))),
                presence: Presence::Here,
            }));
        }
    }

    fn presence(&self) -> Presence {
        match &self.writer {
            Writer::Writing(writing) => writing.presence,
            Writer::Idle(_) | Writer::TakenOver | Writer::Failed(_) => Presence::Here,
        }
    }

    /// Appends what is left, and ends the chain.
    async fn finish(mut self, ending: StreamEnd) -> Result<Sealed, Lost> {
        poll_fn(|cx| self.poll_append(cx)).await?;
        let bytes = self.acks.safe();
        let before = std::mem::replace(&mut self.writer, Writer::TakenOver);
        let fin = match ending {
            StreamEnd::Complete => Fin::Complete,
            StreamEnd::Cut(_) => Fin::Cut,
            StreamEnd::Left => return Ok(Sealed { bytes }),
        };
        let Writer::Idle(chain) = before else {
            return match fin {
                Fin::Complete => Err(taken_over()),
                // The gateway that has it ends it.
                Fin::Cut => Ok(Sealed { bytes }),
            };
        };
        match timeout(self.hold.timeout, chain.finish(fin)).await {
            Ok(Ok(_)) => Ok(Sealed { bytes }),
            Ok(Err(ChainError::TakenOver)) => match fin {
                Fin::Complete => Err(taken_over()),
                Fin::Cut => Ok(Sealed { bytes }),
            },
            Ok(Err(error)) => Err(lost(&error.to_string())),
            Err(_) => Err(lost("NATS did not take the end of the stream")),
        }
    }
}

impl Link for ChainLink {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if let Poll::Ready(Err(lost)) = self.poll_written(cx) {
            return Poll::Ready(Err(lost));
        }
        if self.held() >= self.hold.memory {
            // Something is on its way, or is about to be.
            if self.poll_append(cx)?.is_pending() && self.held() >= self.hold.memory {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, message: Upward) {
        match message {
            Upward::Binary(audio) => {
                self.taken += audio.len() as u64;
                if !matches!(self.writer, Writer::TakenOver | Writer::Failed(_)) {
                    self.gathered.extend_from_slice(&audio);
                }
            }
            // A chain holds audio.
            Upward::Text(_) | Upward::Control(_) => {}
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.poll_append(cx)
    }

    fn held(&self) -> usize {
        let writing = match &self.writer {
            Writer::Writing(writing) => writing.bytes,
            Writer::Idle(_) | Writer::TakenOver | Writer::Failed(_) => 0,
        };
        self.gathered.len() + writing
    }

    fn last_progress(&self) -> Option<Instant> {
        Some(self.progress)
    }

    fn receipts(&self) -> Receipts {
        self.acks.wanted()
    }

    fn place(&self) -> Option<Place> {
        Some(Place::Chain {
            at: self.place.clone(),
            writer: Some(self.name.to_string()),
        })
    }

    fn outage(&self) -> Duration {
        self.hold.timeout
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        if let Poll::Ready(Err(lost)) = self.poll_written(cx) {
            return Poll::Ready(Err(lost));
        }
        if let Writer::TakenOver = self.writer {
            return Poll::Ready(Ok(Downward::TakenOver));
        }
        let presence = self.presence();
        if presence != self.believed {
            self.believed = presence;
            if presence == Presence::Here {
                metrics::upstream_restored(&self.upstream);
                self.destination.is_with(None);
            }
            return Poll::Ready(Ok(Downward::Upstream(presence)));
        }
        self.acks.poll(cx).map(|bytes| Ok(Downward::Kept(bytes)))
    }

    fn poll_complete(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.poll_append(cx)
    }

    fn seal(self: Box<Self>, ending: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        self.finish(ending).boxed()
    }
}

/// A link that is dropped leaves its audio to a task. Nobody was told that it is safe.
impl Drop for ChainLink {
    fn drop(&mut self) {
        if self.held() == 0 || matches!(self.writer, Writer::TakenOver | Writer::Failed(_)) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let rest = Self {
            upstream: Arc::clone(&self.upstream),
            cluster: self.cluster.clone(),
            place: self.place.clone(),
            name: Arc::clone(&self.name),
            destination: Arc::clone(&self.destination),
            hold: self.hold,
            gathered: std::mem::take(&mut self.gathered),
            taken: self.taken,
            acks: Acks::new(Receipts::None, self.acks.safe()),
            writer: std::mem::replace(&mut self.writer, Writer::TakenOver),
            believed: self.believed,
            progress: self.progress,
        };
        runtime.spawn(append_rest(rest));
    }
}

async fn append_rest(mut rest: ChainLink) {
    let appended = poll_fn(|cx| rest.poll_append(cx)).await;
    if let Err(lost) = appended {
        tracing::warn!(error = format!("{:#}", lost.detail), "some audio was lost");
    }
    // Whatever is left failed, and must not be tried again.
    rest.gathered.clear();
    rest.writer = Writer::TakenOver;
}

fn taken_over() -> Lost {
    Lost::new("another gateway goes on with this stream", TakenOver)
}

fn lost(why: &str) -> Lost {
    Lost::new("the stream could not be stored", anyhow!(why.to_owned()))
}
