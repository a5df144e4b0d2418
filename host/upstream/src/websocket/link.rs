//! Relay of a stream over one connection to its backend.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use anyhow::anyhow;
use futures_util::future::{BoxFuture, FutureExt, poll_fn};
use tokio::time::Instant;

use super::backend_socket::BackendSocket;
use super::backends::ActiveSession;
use super::marks::Marks;
use super::opening::Opening;
use super::receipts::Receipts;
use super::reply::{self, Replies};
use super::silence::{Quiet, Silence};
use super::{Hold, OnLoss, Promise, Replay, WebSocket};
use crate::link::{Control, Downward, Ending, Link, Lost, Sealed, Upward};
use wire::frame::{Message, PeerClose};

const PAUSE: &[u8] = br#"{"type":"pause"}"#;
const RESUME: &[u8] = br#"{"type":"resume"}"#;
const FINALIZE: &[u8] = br#"{"type":"finalize"}"#;
const NORMAL: u16 = 1000;

pub(super) struct Relay {
    socket: BackendSocket,
    /// Messages for the client that came before the answer to the handshake.
    early: VecDeque<Downward>,
    dialect: Dialect,
    phase: Phase,
    taken: u64,
    silence: Silence,
    receipts: Receipts,
    /// Set if the stream is held and the backend confirms nothing.
    marks: Option<Marks>,
    _session: ActiveSession,
}

/// Protocol that the backend speaks beside audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// None: messages pass unchanged.
    Plain,
    /// Control messages of `ingest.v1`.
    Ingest(Replies),
}

/// Phase of the stream on this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Running,
    /// The gateway has asked the backend to complete the stream.
    Completing,
    /// The backend has taken everything.
    Complete,
    /// The backend sent its Close.
    Closed,
    /// The backend broke the protocol: nothing more can be read.
    Broken,
}

impl Relay {
    pub(super) fn plain(
        socket: BackendSocket,
        backend: &WebSocket,
        session: ActiveSession,
    ) -> Self {
        Self {
            socket,
            early: VecDeque::new(),
            dialect: Dialect::Plain,
            phase: Phase::Running,
            taken: 0,
            silence: Silence::new(backend.silence_timeout),
            receipts: Receipts::new(Promise::None, crate::link::Receipts::None, 0),
            marks: None,
            _session: session,
        }
    }

    /// A stream that goes on at this byte of its audio.
    pub(super) fn ingest(
        opening: Opening,
        backend: &WebSocket,
        receipts: crate::link::Receipts,
        from: u64,
        session: ActiveSession,
    ) -> Self {
        let Opening { socket, early, .. } = opening;
        let marked = match &backend.on_loss {
            OnLoss::Fail => false,
            OnLoss::Hold(Hold { replay, .. }) => *replay != Replay::Confirmed,
        };
        Self {
            early,
            taken: from,
            receipts: Receipts::new(backend.receipts, receipts, from),
            dialect: Dialect::Ingest(backend.replies),
            marks: marked.then(|| Marks::from(from)),
            ..Self::plain(socket, backend, session)
        }
    }

    /// Tells a backend that came back where the audio that follows belongs: at
    /// `from`, of which it may have had `overlap` bytes already, and may have
    /// missed `gap` bytes before.
    pub(super) fn goes_on(&mut self, from: u64, overlap: u64, gap: u64, paused: bool) {
        let told = format!(
            r#"{{"type":"replay","from_bytes":{from},"overlap_bytes":{overlap},"gap_bytes":{gap}}}"#
        );
        self.socket.writer.text(told.as_bytes());
        if paused {
            self.socket.writer.text(PAUSE);
        }
    }

    /// Where the stream is: bytes of its audio that were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// How much of that the backend is known to have.
    pub(super) fn reached(&self) -> u64 {
        match &self.marks {
            Some(marks) => marks.reached(),
            None => self.receipts.kept(),
        }
    }

    /// Gives the connection up. A backend that closed it, or broke the protocol, is answered.
    pub(super) fn part(self) {
        self.socket.part();
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if let Some(place) = self.marks.as_mut().and_then(|marks| marks.due(self.taken)) {
            self.socket.ping(&place);
        }
        ready!(self.socket.poll_flush(cx)).map_err(|error| lost(error.into()))?;
        self.receipts.sent(cx, self.taken);
        Poll::Ready(Ok(()))
    }

    /// The next message for the client; `None` where it was for the host.
    fn hear(&mut self, message: Message) -> Result<Option<Downward>, Lost> {
        Ok(match message {
            Message::Text(text) => {
                if self.phase == Phase::Completing && reply::is_finalized(&text) {
                    self.phase = Phase::Complete;
                    return Ok(None);
                }
                if self.receipts.are_confirmed()
                    && let Some(bytes) = reply::confirmed(&text)
                {
                    self.receipts.confirmed(bytes, self.taken);
                    return Ok(None);
                }
                Some(Downward::Text(text))
            }
            Message::Binary(payload) => Some(Downward::Binary(payload)),
            // The socket answers them.
            Message::Ping(_) => None,
            Message::Pong(payload) => {
                if let Some(marks) = &mut self.marks {
                    marks.answered(&payload);
                }
                None
            }
            Message::Close(close) => {
                let close = close.unwrap_or_else(|| PeerClose {
                    code: NORMAL,
                    reason: String::new(),
                });
                let was = std::mem::replace(&mut self.phase, Phase::Closed);
                if was == Phase::Completing && close.code == NORMAL {
                    return self.ended_well().map(|()| None);
                }
                Some(Downward::Close(close))
            }
        })
    }

    /// The backend was asked for the end, and closed as if all was well. One
    /// that confirms things has to have confirmed this.
    fn ended_well(&self) -> Result<(), Lost> {
        let has_all = self.receipts.are_confirmed() && self.receipts.kept() == self.taken;
        if self.dialect == Dialect::Ingest(Replies::None) || has_all {
            return Ok(());
        }
        Err(lost(anyhow!(
            "it closed with {NORMAL} and did not say that it has everything"
        )))
    }

    /// Asks the backend to complete the stream.
    fn ask_to_complete(&mut self) {
        self.phase = Phase::Completing;
        self.socket.writer.text(FINALIZE);
        if self.dialect == Dialect::Ingest(Replies::None) {
            self.socket.close(NORMAL, "finalize");
        }
    }

    /// Completes a stream whose client does not wait, and has nobody to tell
    /// what the backend still says.
    async fn complete(&mut self) -> Result<(), Lost> {
        poll_fn(|cx| {
            loop {
                match self.poll_event(cx)? {
                    Poll::Pending => return self.poll_complete(cx),
                    Poll::Ready(
                        Downward::Text(_)
                        | Downward::Binary(_)
                        | Downward::Kept(_)
                        | Downward::Upstream(_),
                    ) => {}
                    Poll::Ready(Downward::Close(close)) => {
                        return Poll::Ready(Err(lost(anyhow!(
                            "it closed with {} \"{}\" before the stream was complete",
                            close.code,
                            close.reason
                        ))));
                    }
                }
            }
        })
        .await
    }

    async fn close(mut self, code: u16, reason: &str) -> Result<(), Lost> {
        self.socket.close(code, reason);
        poll_fn(|cx| self.socket.poll_flush(cx))
            .await
            .map_err(|error| lost(error.into()))?;
        self.socket.leave();
        Ok(())
    }
}

impl Link for Relay {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if !self.socket.has_room() {
            if let Poll::Ready(Err(lost)) = self.write(cx) {
                return Poll::Ready(Err(lost));
            }
            if !self.socket.has_room() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, message: Upward) {
        match (message, self.dialect) {
            (Upward::Binary(payload), _) => {
                self.taken += payload.len() as u64;
                self.socket.writer.binary(&payload);
            }
            (Upward::Text(text), _) => self.socket.writer.text(&text),
            (Upward::Control(Control::Pause), Dialect::Ingest(_)) => self.socket.writer.text(PAUSE),
            (Upward::Control(Control::Resume), Dialect::Ingest(_)) => {
                self.socket.writer.text(RESUME)
            }
            (Upward::Control(_), Dialect::Plain) => {}
        }
    }

    fn held(&self) -> usize {
        let early = self.early.iter().map(|message| match message {
            Downward::Text(bytes) | Downward::Binary(bytes) => bytes.len(),
            Downward::Kept(_) | Downward::Upstream(_) | Downward::Close(_) => 0,
        });
        early.sum::<usize>() + self.socket.reader.buffered() + self.socket.writer.queued()
    }

    fn last_progress(&self) -> Option<Instant> {
        Some(self.socket.writer.last_progress())
    }

    fn receipts(&self) -> crate::link::Receipts {
        self.receipts.given()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        self.write(cx)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        if let Some(message) = self.early.pop_front() {
            return Poll::Ready(Ok(message));
        }
        while matches!(self.phase, Phase::Running | Phase::Completing) {
            if let Poll::Ready(bytes) = self.receipts.poll(cx) {
                return Poll::Ready(Ok(Downward::Kept(bytes)));
            }
            match self.socket.poll_next(cx) {
                Poll::Ready(Ok(message)) => {
                    if let Some(message) = self.hear(message)? {
                        return Poll::Ready(Ok(message));
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.phase = Phase::Broken;
                    return Poll::Ready(Err(lost(error.into())));
                }
                Poll::Pending => {
                    return match self.silence.poll(cx, self.socket.reader.last_received()) {
                        Poll::Ready(Quiet::TooLong) => Poll::Ready(Err(lost(anyhow!(
                            "nothing came from it for {:?}, and no answer to a ping",
                            self.silence.limit()
                        )))),
                        Poll::Ready(Quiet::Suspicious) => {
                            self.socket.ping(&[]);
                            cx.waker().wake_by_ref();
                            Poll::Pending
                        }
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
        Poll::Pending
    }

    fn poll_complete(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.phase == Phase::Running {
            self.ask_to_complete();
        }
        if let Poll::Ready(Err(lost)) = self.write(cx) {
            // What it said before it went is worth more than how it went.
            return match self.phase {
                Phase::Complete | Phase::Closed => Poll::Ready(Ok(())),
                _ => Poll::Ready(Err(lost)),
            };
        }
        match self.phase {
            Phase::Running | Phase::Completing => Poll::Pending,
            Phase::Broken => Poll::Ready(Err(lost(anyhow!("its connection broke")))),
            Phase::Complete | Phase::Closed => Poll::Ready(Ok(())),
        }
    }

    fn seal(mut self: Box<Self>, ending: Ending) -> BoxFuture<'static, Result<Sealed, Lost>> {
        async move {
            let sealed = Sealed { bytes: self.taken };
            match ending {
                Ending::Complete => {
                    if let Err(error) = self.complete().await {
                        self.part();
                        return Err(error);
                    }
                    // It has said that it has everything: how its connection
                    // ends is of no more interest.
                    if let Err(error) = self.close(NORMAL, "finalized").await {
                        tracing::debug!(?error, "the backend was gone before the Close");
                    }
                }
                Ending::Cut(close) => {
                    let gone = self.phase == Phase::Closed;
                    let closed = self.close(close.code, &close.reason).await;
                    if !gone {
                        closed?;
                    }
                }
            }
            Ok(sealed)
        }
        .boxed()
    }
}

fn lost(detail: anyhow::Error) -> Lost {
    Lost::new("the upstream was lost", detail.context("the backend"))
}
