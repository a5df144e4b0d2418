//! A stream that outlives the connections to its backend.
//!
//! What the client sends goes onto a [`Tape`], and from there to the backend.
//! When the connection is lost, the client's stream goes on: the tape grows,
//! within its bounds, while the backend is dialled again, less and less often.
//! Once it is back it gets the handshake, is told with one message where the
//! stream goes on, and gets what it has not had. The client is told that its
//! backend is away, and that it is back; nothing else.
//!
//! Where the stream goes on is [`Replay`]'s to say. A backend that confirms
//! bytes gets exactly what it has not confirmed. Of one that does not, the host
//! knows how far it has read ([`super::marks`]), and either sends the rest
//! again, or what it has not sent yet.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::anyhow;
use futures_util::future::{BoxFuture, FutureExt, poll_fn};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use self::room::Room;
use self::spill::{Bounds, Spill};
use self::tape::Tape;
use super::dialer::Absent;
use super::link::Relay;
use super::{Dialer, Hold, Replay};
use crate::link::{
    Downward, Ending, Link, Lost, OpenError, Presence, Receipts, Sealed, StreamInfo, Upward,
};
use base::metrics;
use wire::frame::PeerClose;

mod room;
mod spill;
mod tape;

/// How long one attempt to reach the backend may take.
const ATTEMPT: Duration = Duration::from_secs(4);
/// When a backend is dialled again: at first, and at last.
const SOONEST: Duration = Duration::from_millis(100);
const LATEST: Duration = Duration::from_secs(5);
/// A backend that takes streams and loses them at once has not come back.
const STEADY: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Held {
    dialer: Dialer,
    stream: StreamInfo,
    hold: Hold,
    tape: Tape,
    state: State,
    /// What the client believes of its backend.
    believed: Presence,
    /// Bytes that the client was told are safe.
    told: u64,
    /// How far any connection has got, and how much of it is known to have
    /// arrived.
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
    /// Where the tape was when it came back.
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
            tape: Tape::new(hold.memory, spill),
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

    /// Does what can be done now: brings the backend back, and passes on what is
    /// on the tape.
    fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Lost> {
        self.tape.poll_spill(cx);
        loop {
            match &mut self.state {
                State::Away(_) => match self.poll_back(cx)? {
                    Poll::Ready(()) => {}
                    Poll::Pending => return Ok(()),
                },
                State::Up(relay) => {
                    self.reached = self.reached.max(relay.reached());
                    match self.hold.replay {
                        Replay::Confirmed | Replay::AtLeastOnce => self.tape.forget(self.reached),
                        // What was passed on is not sent again.
                        Replay::AtMostOnce => self.tape.forget(u64::MAX),
                    }
                    match Self::pass_on(relay, &mut self.tape, cx) {
                        Ok(()) => return Ok(()),
                        Err(Broken::Relay(lost)) => self.lose(lost),
                        Err(Broken::Tape(error)) => {
                            let detail = anyhow!(error).context("held audio cannot be read back");
                            return Err(Lost::new("the stream could not be held", detail));
                        }
                    }
                }
            }
        }
    }

    fn pass_on(relay: &mut Relay, tape: &mut Tape, cx: &mut Context<'_>) -> Result<(), Broken> {
        while relay.poll_ready(cx).map_err(Broken::Relay)?.is_ready() {
            match tape.poll_next(cx).map_err(Broken::Tape)? {
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
            Replay::AtMostOnce => self.tape.place(),
        }
    }

    /// Tells the backend where the stream goes on, and plays the tape from there.
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
        relay.goes_on(from, overlap, gap, self.tape.begins_paused());
        match self.hold.replay {
            Replay::Confirmed | Replay::AtLeastOnce => self.tape.rewind(from),
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
                State::Up(relay) if self.tape.is_read() => relay.poll_flush(cx),
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
                let waiting = self.tape.taken() - self.tape.place();
                waiting > self.dialer.backend.max_buffer as u64
            }
            State::Away(_) => false,
        };
        if is_slow || !self.tape.has_room() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, message: Upward) {
        self.tape.push(&message);
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
        self.tape.held() + relayed
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
                State::Up(relay) if self.tape.is_read() => match ready!(relay.poll_complete(cx)) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(lost) => self.lose(lost),
                },
                State::Up(_) | State::Away(_) => return Poll::Pending,
            }
        }
    }

    fn seal(mut self: Box<Self>, ending: Ending) -> BoxFuture<'static, Result<Sealed, Lost>> {
        async move {
            let sealed = Sealed {
                bytes: self.tape.taken(),
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
    Tape(std::io::Error),
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
