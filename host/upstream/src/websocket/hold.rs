//! Stream that outlives the connections to its backend.
//!
//! Everything that the client sends goes into a [`ReplayBuffer`], and from there to the backend.
//! When the connection to the backend is lost, the client's stream goes on: the buffer grows,
//! within its bounds, while the gateway dials the backend again, with backoff. When the backend is
//! back, the gateway sends it the handshake, one message that says where the stream continues, and
//! the data that it has not had. The client is told only that its backend is away, and that it is
//! back.
//!
//! [`Replay`] determines where the stream continues. A backend that confirms bytes gets exactly
//! what it has not confirmed. For any other backend the gateway knows how far it has read
//! ([`super::marks`]). It sends either everything after that again, or only what it has not sent
//! yet.

use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::anyhow;
use futures_util::future::{BoxFuture, FutureExt, poll_fn};
use tokio::time::Instant;

use self::quota::FileQuota;
pub(super) use self::reconnect::Absent;
use self::reconnect::{Outage, Redial, is_a_loss};
use self::replay_buffer::ReplayBuffer;
use self::spill::{Spill, SpillLimits};
use super::link::BackendLink;
use super::{Dialer, Hold, Replay};
use crate::destination::Presence;
use crate::link::{
    Downward, Link, Lost, OpenError, Receipts, Sealed, StreamEnd, StreamInfo, Upward,
};
use wire::frame::PeerClose;

mod quota;
mod reconnect;
mod replay_buffer;
mod spill;

/// Stream with a replay buffer, across all connections to its backend.
pub(super) struct HeldStream {
    dialer: Dialer,
    stream: StreamInfo,
    hold: Hold,
    buffer: ReplayBuffer,
    state: BackendState,
    /// State of the backend that the client was last told.
    believed: Presence,
    /// Bytes of audio that the client was told are safe.
    told: u64,
    /// Bytes of audio that were sent over any connection, and of those that are known to have
    /// arrived.
    sent: u64,
    reached: u64,
    outage: Outage,
}

enum BackendState {
    Up(Box<BackendLink>),
    Away(Redial),
}

impl HeldStream {
    /// Opens a stream. `absent` says whether the backend may be unavailable.
    pub(super) async fn open(
        dialer: Dialer,
        hold: &Hold,
        stream: StreamInfo,
        absent: Absent,
    ) -> Result<Self, OpenError> {
        let opened = dialer.dial(&stream, 0).await;
        let (state, why) = match opened {
            Ok(relay) => (BackendState::Up(Box::new(relay)), None),
            Err(OpenError::Unavailable { public, detail }) if absent == Absent::IsWaitedFor => {
                stream.destination.is_without_backend();
                (
                    BackendState::Away(Redial::soon()),
                    Some(Lost { public, detail }),
                )
            }
            Err(error) => return Err(error),
        };
        let folder: Arc<Path> = dialer.data_dir.join("held").into();
        let bounds = SpillLimits {
            file: hold.file,
            all: hold.files,
            min_free: dialer.backend.min_free,
        };
        let spill =
            (hold.file > 0).then(|| Spill::new(folder, bounds, FileQuota::of(&dialer.name)));
        Ok(Self {
            buffer: ReplayBuffer::new(hold.memory, spill),
            state,
            believed: Presence::Here,
            told: 0,
            sent: 0,
            reached: 0,
            outage: Outage::new(why, hold.timeout),
            hold: hold.clone(),
            dialer,
            stream,
        })
    }

    fn presence(&self) -> Presence {
        match self.state {
            BackendState::Up(_) => Presence::Here,
            BackendState::Away(_) => Presence::Away,
        }
    }

    /// Makes progress without waiting: reconnects to the backend, and sends it what is in the
    /// buffer.
    fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        self.buffer.poll_spill(cx);
        loop {
            match &mut self.state {
                BackendState::Away(_) => match self.poll_back(cx)? {
                    Poll::Ready(()) => {}
                    Poll::Pending => return Ok(()),
                },
                BackendState::Up(relay) => {
                    self.reached = self.reached.max(relay.reached());
                    match self.hold.replay {
                        Replay::Confirmed | Replay::AtLeastOnce => self.buffer.forget(self.reached),
                        // What was sent is not sent again.
                        Replay::AtMostOnce => self.buffer.forget(u64::MAX),
                    }
                    match Self::pass_on(relay, &mut self.buffer, cx) {
                        Ok(()) => return Ok(()),
                        Err(Broken::Relay(lost)) => self.lose(lost),
                        Err(Broken::Buffer(error)) => {
                            let detail = anyhow!(error).context("held audio cannot be read back");
                            return Err(Lost::new("the stream could not be held", detail));
                        }
                    }
                }
            }
        }
    }

    fn pass_on(
        relay: &mut BackendLink,
        buffer: &mut ReplayBuffer,
        cx: &mut Context<'_>,
    ) -> Result<(), Broken> {
        while relay.poll_ready(cx).map_err(Broken::Relay)?.is_ready() {
            match buffer.poll_next(cx).map_err(Broken::Buffer)? {
                Poll::Ready(Some(message)) => relay.start_send(message),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Next message from the backend, over whichever connection.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        loop {
            self.drive(cx)?;
            if self.believed != self.presence() {
                self.believed = self.presence();
                return Poll::Ready(Ok(Downward::Upstream(self.believed)));
            }
            let BackendState::Up(relay) = &mut self.state else {
                return Poll::Pending;
            };
            match ready!(relay.poll_event(cx)) {
                Err(lost) => self.lose(lost),
                Ok(Downward::Close(close)) if is_a_loss(&close) => {
                    let PeerClose { code, reason } = close;
                    let detail = anyhow!("it closed with {code} \"{reason}\"");
                    self.lose(Lost::new("the upstream was lost", detail));
                }
                Ok(Downward::Kept(bytes)) if bytes <= self.told => {}
                Ok(Downward::Kept(bytes)) => {
                    self.told = bytes;
                    return Poll::Ready(Ok(Downward::Kept(bytes)));
                }
                Ok(message) => return Poll::Ready(Ok(message)),
            }
        }
    }

    /// Ready once the backend has read everything that was taken. Its further messages are
    /// discarded, because the client is gone.
    fn poll_drained(&mut self, cx: &mut Context<'_>, ending: &StreamEnd) -> Poll<Result<(), Lost>> {
        loop {
            match self.poll_heard(cx)? {
                Poll::Ready(Downward::Close(PeerClose { code, reason })) => {
                    let detail = anyhow!("it closed with {code} \"{reason}\" before the end");
                    return Poll::Ready(Err(Lost::new("the upstream was lost", detail)));
                }
                Poll::Ready(_) => {}
                Poll::Pending => break,
            }
        }
        match ending {
            StreamEnd::Complete => self.poll_complete(cx),
            StreamEnd::Cut(_) | StreamEnd::Left => match &mut self.state {
                BackendState::Up(relay) if self.buffer.is_read() => relay.poll_flush(cx),
                BackendState::Up(_) | BackendState::Away(_) => Poll::Pending,
            },
        }
    }
}

impl Link for HeldStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.drive(cx)?;
        let is_slow = match &self.state {
            // An available backend provides backpressure as usual.
            BackendState::Up(_) => {
                let waiting = self.buffer.taken() - self.buffer.position();
                waiting > self.dialer.backend.max_buffer as u64
            }
            BackendState::Away(_) => false,
        };
        if is_slow || !self.buffer.has_room() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, message: Upward) {
        self.buffer.push(&message);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.drive(cx)?;
        match &mut self.state {
            BackendState::Up(relay) => match ready!(relay.poll_flush(cx)) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(lost) => {
                    self.lose(lost);
                    // Wakes this task to dial again and to tell the client.
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            },
            BackendState::Away(_) => Poll::Pending,
        }
    }

    fn held(&self) -> usize {
        let relayed = match &self.state {
            BackendState::Up(relay) => relay.held(),
            BackendState::Away(_) => 0,
        };
        self.buffer.held() + relayed
    }

    fn last_progress(&self) -> Option<Instant> {
        match &self.state {
            BackendState::Up(relay) => relay.last_progress(),
            BackendState::Away(_) => None,
        }
    }

    fn receipts(&self) -> Receipts {
        self.dialer.backend.receipts.given(self.stream.receipts)
    }

    fn outage(&self) -> Duration {
        self.hold.timeout
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        self.poll_heard(cx)
    }

    fn poll_complete(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        loop {
            self.drive(cx)?;
            match &mut self.state {
                BackendState::Up(relay) if self.buffer.is_read() => {
                    match ready!(relay.poll_complete(cx)) {
                        Ok(()) => return Poll::Ready(Ok(())),
                        Err(lost) => self.lose(lost),
                    }
                }
                BackendState::Up(_) | BackendState::Away(_) => return Poll::Pending,
            }
        }
    }

    fn seal(mut self: Box<Self>, ending: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        async move {
            let sealed = Sealed {
                bytes: self.buffer.taken(),
            };
            poll_fn(|cx| self.poll_drained(cx, &ending)).await?;
            if let BackendState::Up(relay) = self.state {
                relay.seal(ending).await?;
            }
            Ok(sealed)
        }
        .boxed()
    }
}

enum Broken {
    Relay(Lost),
    Buffer(std::io::Error),
}
