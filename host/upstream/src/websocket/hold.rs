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
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::anyhow;
use futures_util::future::{BoxFuture, FutureExt, poll_fn};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use self::replay_buffer::ReplayBuffer;
use self::room::Room;
use self::spill::{Bounds, Spill};
use super::dialer::Absent;
use super::link::Relay;
use super::{Dialer, Hold, Replay};
use crate::link::{
    Downward, Ending, Link, Lost, OpenError, Presence, Receipts, Sealed, StreamInfo, Upward,
};
use base::metrics;
use wire::frame::PeerClose;

mod replay_buffer;
mod room;
mod spill;

/// How long one attempt to reach the backend may take.
const ATTEMPT: Duration = Duration::from_secs(4);
/// First and longest pause before a backend is dialled again.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(5);
/// How long a backend must stay before an outage counts as over. One that takes streams and loses
/// them at once has not come back.
const STEADY: Duration = Duration::from_secs(5);

/// Stream with a replay buffer, across all connections to its backend.
pub(super) struct Held {
    dialer: Dialer,
    stream: StreamInfo,
    hold: Hold,
    buffer: ReplayBuffer,
    state: State,
    /// State of the backend that the client was told last.
    believed: Presence,
    /// Bytes of audio that the client was told are safe.
    told: u64,
    /// Bytes of audio that any connection has sent, and how many of them are known to have arrived.
    sent: u64,
    reached: u64,
    outage: Outage,
}

enum State {
    Up(Box<Relay>),
    Away(Attempt),
}

enum Attempt {
    Waiting(Pin<Box<Sleep>>),
    Dialing(BoxFuture<'static, Result<Relay, OpenError>>),
}

/// How long the backend has been away, or since when it is back.
struct Outage {
    /// Why, most recently.
    why: Option<Lost>,
    tries: u32,
    ends: Pin<Box<Sleep>>,
    back_since: Instant,
    /// Bytes that had arrived when the backend came back.
    back_at: u64,
}

impl Held {
    /// Opens a stream to a backend that is there, or to one that may be absent.
    pub(super) async fn open(
        dialer: Dialer,
        hold: &Hold,
        stream: StreamInfo,
        absent: Absent,
    ) -> Result<Self, OpenError> {
        let opened = dialer.dial(&stream, 0).await;
        let (state, why) = match opened {
            Ok(relay) => (State::Up(Box::new(relay)), None),
            Err(OpenError::Unavailable { public, detail }) if absent == Absent::IsWaitedFor => {
                let attempt = Attempt::Waiting(Box::pin(sleep(SOONEST)));
                (State::Away(attempt), Some(Lost { public, detail }))
            }
            Err(error) => return Err(error),
        };
        let folder: Arc<Path> = dialer.data_dir.join("held").into();
        let bounds = Bounds {
            file: hold.file,
            all: hold.files,
            min_free: dialer.backend.min_free,
        };
        let spill = (hold.file > 0).then(|| Spill::new(folder, bounds, Room::of(&dialer.name)));
        Ok(Self {
            buffer: ReplayBuffer::new(hold.memory, spill),
            state,
            believed: Presence::Here,
            told: 0,
            sent: 0,
            reached: 0,
            outage: Outage {
                why,
                tries: 0,
                ends: Box::pin(sleep(hold.timeout)),
                back_since: Instant::now(),
                back_at: 0,
            },
            hold: hold.clone(),
            dialer,
            stream,
        })
    }

    fn presence(&self) -> Presence {
        match self.state {
            State::Up(_) => Presence::Here,
            State::Away(_) => Presence::Away,
        }
    }

    /// Makes progress without waiting: reconnects to the backend, and sends it what is in the
    /// buffer.
    fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        self.buffer.poll_spill(cx);
        loop {
            match &mut self.state {
                State::Away(_) => match self.poll_back(cx)? {
                    Poll::Ready(()) => {}
                    Poll::Pending => return Ok(()),
                },
                State::Up(relay) => {
                    self.reached = self.reached.max(relay.reached());
                    match self.hold.replay {
                        Replay::Confirmed | Replay::AtLeastOnce => self.buffer.forget(self.reached),
                        // What was passed on is not sent again.
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
        relay: &mut Relay,
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

    /// The connection to the backend is no more.
    fn lose(&mut self, lost: Lost) {
        let State::Up(relay) = &self.state else {
            return;
        };
        self.sent = self.sent.max(relay.taken());
        self.reached = self.reached.max(relay.reached());
        let session_id = &*self.stream.session_id;
        tracing::warn!(
            session_id, upstream = &*self.dialer.name, detail = ?lost.detail,
            sent = self.sent, reached = self.reached,
            "the backend was lost; the stream is held"
        );
        metrics::upstream_lost(&self.dialer.name);
        let is_new =
            self.outage.back_since.elapsed() >= STEADY || self.reached > self.outage.back_at;
        if is_new || self.outage.why.is_none() {
            self.outage.tries = 0;
            let ends = Instant::now() + self.hold.timeout;
            self.outage.ends.as_mut().reset(ends);
        }
        self.outage.why = Some(lost);
        let away = State::Away(self.outage.next_attempt());
        if let State::Up(relay) = std::mem::replace(&mut self.state, away) {
            relay.part();
        }
    }

    /// Ready once the backend is back.
    fn poll_back(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Lost> {
        loop {
            let State::Away(attempt) = &mut self.state else {
                return Ok(Poll::Ready(()));
            };
            if self.outage.ends.as_mut().poll(cx).is_ready() {
                return Err(self.outage.over(self.hold.timeout));
            }
            match attempt {
                Attempt::Waiting(pause) => {
                    if pause.as_mut().poll(cx).is_pending() {
                        return Ok(Poll::Pending);
                    }
                    let from = self.goes_on_at();
                    let (dialer, stream) = (self.dialer.clone(), self.stream.clone());
                    let dialing = async move {
                        let slow = |elapsed| {
                            OpenError::unavailable("the upstream cannot be reached", elapsed)
                        };
                        let dialing = timeout(ATTEMPT, dialer.dial(&stream, from));
                        dialing.await.map_err(slow)?
                    };
                    self.state = State::Away(Attempt::Dialing(dialing.boxed()));
                }
                Attempt::Dialing(dialing) => {
                    let Poll::Ready(dialed) = dialing.as_mut().poll(cx) else {
                        return Ok(Poll::Pending);
                    };
                    match dialed {
                        Ok(relay) => self.come_back(relay),
                        Err(OpenError::Unavailable { public, detail }) => {
                            tracing::debug!(
                                session_id = &*self.stream.session_id,
                                ?detail,
                                "the backend is not back"
                            );
                            self.outage.why = Some(Lost { public, detail });
                            self.state = State::Away(self.outage.next_attempt());
                        }
                        // It is back, and does not want the stream.
                        Err(error) => {
                            let detail = anyhow!(error).context("the backend, when it was back");
                            return Err(Lost::new("the upstream refused to go on", detail));
                        }
                    }
                }
            }
        }
    }

    fn goes_on_at(&self) -> u64 {
        match self.hold.replay {
            Replay::Confirmed | Replay::AtLeastOnce => self.reached,
            Replay::AtMostOnce => self.buffer.position(),
        }
    }

    /// Tells the backend where the stream continues, and replays the buffer from there.
    fn come_back(&mut self, mut relay: Relay) {
        let from = self.goes_on_at();
        let (overlap, gap) = match self.hold.replay {
            Replay::Confirmed | Replay::AtLeastOnce => (self.sent.saturating_sub(from), 0),
            Replay::AtMostOnce => (0, from.saturating_sub(self.reached)),
        };
        tracing::info!(
            session_id = &*self.stream.session_id,
            upstream = &*self.dialer.name,
            from,
            overlap,
            gap,
            "the backend is back; the stream goes on"
        );
        metrics::upstream_restored(&self.dialer.name);
        relay.goes_on(from, overlap, gap, self.buffer.begins_paused());
        match self.hold.replay {
            Replay::Confirmed | Replay::AtLeastOnce => self.buffer.rewind(from),
            Replay::AtMostOnce => {}
        }
        self.outage.back_since = Instant::now();
        self.outage.back_at = self.reached;
        self.state = State::Up(Box::new(relay));
    }

    /// The next message from the backend, whichever connection it comes over.
    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        loop {
            self.drive(cx)?;
            if self.believed != self.presence() {
                self.believed = self.presence();
                return Poll::Ready(Ok(Downward::Upstream(self.believed)));
            }
            let State::Up(relay) = &mut self.state else {
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

    /// Ready once the backend has read everything that was taken. Nobody is
    /// there to hear what it still says.
    fn poll_drained(&mut self, cx: &mut Context<'_>, ending: &Ending) -> Poll<Result<(), Lost>> {
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
            Ending::Complete => self.poll_complete(cx),
            Ending::Cut(_) => match &mut self.state {
                State::Up(relay) if self.buffer.is_read() => relay.poll_flush(cx),
                State::Up(_) | State::Away(_) => Poll::Pending,
            },
        }
    }
}

impl Link for Held {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.drive(cx)?;
        let is_slow = match &self.state {
            // A backend that is there holds its client back as ever.
            State::Up(_) => {
                let waiting = self.buffer.taken() - self.buffer.position();
                waiting > self.dialer.backend.max_buffer as u64
            }
            State::Away(_) => false,
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
            State::Up(relay) => match ready!(relay.poll_flush(cx)) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(lost) => {
                    self.lose(lost);
                    // To be dialled again, and the client to be told.
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            },
            State::Away(_) => Poll::Pending,
        }
    }

    fn held(&self) -> usize {
        let relayed = match &self.state {
            State::Up(relay) => relay.held(),
            State::Away(_) => 0,
        };
        self.buffer.held() + relayed
    }

    fn last_progress(&self) -> Option<Instant> {
        match &self.state {
            State::Up(relay) => relay.last_progress(),
            State::Away(_) => None,
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
                State::Up(relay) if self.buffer.is_read() => {
                    match ready!(relay.poll_complete(cx)) {
                        Ok(()) => return Poll::Ready(Ok(())),
                        Err(lost) => self.lose(lost),
                    }
                }
                State::Up(_) | State::Away(_) => return Poll::Pending,
            }
        }
    }

    fn seal(mut self: Box<Self>, ending: Ending) -> BoxFuture<'static, Result<Sealed, Lost>> {
        async move {
            let sealed = Sealed {
                bytes: self.buffer.taken(),
            };
            poll_fn(|cx| self.poll_drained(cx, &ending)).await?;
            if let State::Up(relay) = self.state {
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

impl Outage {
    /// The next attempt, later than the one before, and not at the same moment
    /// as those of all the other streams.
    fn next_attempt(&mut self) -> Attempt {
        let pause = SOONEST.saturating_mul(1 << self.tries.min(16)).min(LATEST);
        self.tries += 1;
        let pause = pause.mul_f64(fastrand::f64() + 0.5);
        Attempt::Waiting(Box::pin(sleep_until(Instant::now() + pause)))
    }

    /// It has lasted too long.
    fn over(&mut self, limit: Duration) -> Lost {
        let why = self
            .why
            .take()
            .map_or_else(|| anyhow!("it was not there"), |lost| lost.detail);
        let detail = why.context(format!("the backend was away for {limit:?}"));
        Lost::new("the upstream was lost, and did not come back", detail)
    }
}

/// Whether a Close speaks of the backend or of its transport, and not of the
/// stream (RFC 6455, section 7.4).
fn is_a_loss(close: &PeerClose) -> bool {
    close.code != 1000 && close.code < 3000
}
