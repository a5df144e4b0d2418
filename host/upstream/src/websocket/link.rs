//! Relay of a stream over one connection to its backend.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use anyhow::anyhow;
use futures_util::future::{BoxFuture, FutureExt, poll_fn};
use tokio::time::Instant;

use super::acknowledgements::Acknowledgements;
use super::backend_socket::BackendSocket;
use super::backends::ActiveSession;
use super::marks::Marks;
use super::opening::PendingHandshake;
use super::reply::Replies;
use super::silence::{Quiet, Silence};
use super::{Hold, OnLoss, Promise, Replay, WebSocket};
use crate::link::{Control, Downward, Link, Lost, Receipts, Sealed, StreamEnd, Upward};

mod messages;

const PAUSE: &[u8] = br#"{"type":"pause"}"#;
const RESUME: &[u8] = br#"{"type":"resume"}"#;
const FINALIZE: &[u8] = br#"{"type":"finalize"}"#;
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;

/// Link to a backend over one connection.
pub(super) struct BackendLink {
    socket: BackendSocket,
    /// Messages for the client that came before the answer to the handshake.
    early: VecDeque<Downward>,
    dialect: Dialect,
    phase: Phase,
    taken: u64,
    silence: Silence,
    receipts: Acknowledgements,
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

impl BackendLink {
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
            receipts: Acknowledgements::new(Promise::None, Receipts::None, 0),
            marks: None,
            _session: session,
        }
    }

    /// Relay of a stream that begins or continues at this byte of its audio.
    pub(super) fn ingest(
        opening: PendingHandshake,
        backend: &WebSocket,
        receipts: Receipts,
        from: u64,
        session: ActiveSession,
    ) -> Self {
        let PendingHandshake { socket, early, .. } = opening;
        let marked = match &backend.on_loss {
            OnLoss::Fail => false,
            OnLoss::Hold(Hold { replay, .. }) => *replay != Replay::Confirmed,
        };
        Self {
            early,
            taken: from,
            receipts: Acknowledgements::new(backend.receipts, receipts, from),
            dialect: Dialect::Ingest(backend.replies),
            marks: marked.then(|| Marks::from(from)),
            ..Self::plain(socket, backend, session)
        }
    }

    /// Number of bytes of audio that were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Number of those bytes that the backend is known to have.
    pub(super) fn reached(&self) -> u64 {
        match &self.marks {
            Some(marks) => marks.reached(),
            None => self.receipts.kept(),
        }
    }

    /// Ends the connection. A backend that closed it or broke the protocol gets an answer.
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

    async fn close(mut self, code: u16, reason: &str) -> Result<(), Lost> {
        self.socket.close(code, reason);
        poll_fn(|cx| self.socket.poll_flush(cx))
            .await
            .map_err(|error| lost(error.into()))?;
        self.socket.leave();
        Ok(())
    }
}

impl Link for BackendLink {
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
            Downward::Kept(_)
            | Downward::Upstream(_)
            | Downward::Close(_)
            | Downward::TakenOver => 0,
        });
        early.sum::<usize>() + self.socket.reader.buffered() + self.socket.writer.queued()
    }

    fn last_progress(&self) -> Option<Instant> {
        Some(self.socket.writer.last_progress())
    }

    fn receipts(&self) -> Receipts {
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
                            "it sent nothing for {:?}, and did not answer a ping",
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
            // A confirmation that came before the failure counts.
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

    fn seal(mut self: Box<Self>, ending: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        async move {
            let sealed = Sealed { bytes: self.taken };
            match ending {
                StreamEnd::Complete => {
                    if let Err(error) = self.complete().await {
                        self.part();
                        return Err(error);
                    }
                    // The backend has confirmed everything. A failure of its connection does not
                    // matter any more.
                    if let Err(error) = self.close(NORMAL, "finalized").await {
                        tracing::debug!(?error, "the backend was gone before the Close");
                    }
                }
                StreamEnd::Cut(close) => {
                    let gone = self.phase == Phase::Closed;
                    let closed = self.close(close.code, &close.reason).await;
                    if !gone {
                        closed?;
                    }
                }
                // No other process can go on with it, so none does.
                StreamEnd::Left => self.close(GOING_AWAY, "draining").await?,
            }
            Ok(sealed)
        }
        .boxed()
    }
}

fn lost(detail: anyhow::Error) -> Lost {
    Lost::new("the upstream was lost", detail.context("the backend"))
}
