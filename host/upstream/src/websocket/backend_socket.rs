//! WebSocket connection to a backend after its upgrade, with its closing handshake (RFC 6455,
//! sections 5.5 and 7).
//!
//! The gateway is the client of this connection. It answers pings, echoes the backend's Close, and
//! answers a violation with the close code that names it.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::transport::{Reading, Writing};
use wire::frame::{FrameReader, FrameWriter, Message, PeerClose, ReadError, Violation};

/// Time limit for a backend to end a connection after the gateway has sent its Close. Then the
/// connection is dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// WebSocket connection to a backend after its upgrade.
pub(super) struct BackendSocket {
    pub(super) reader: FrameReader<Reading>,
    pub(super) writer: FrameWriter<Writing>,
    /// Bytes that may wait for the backend.
    max_buffer: usize,
    /// The backend's latest ping that had no room for its answer. A backend that pings and does
    /// not read gets an answer to its most recent ping alone, as section 5.5.3 allows: to keep
    /// one for each ping would be memory without bound.
    unanswered: Option<Bytes>,
    end: Option<BackendEnd>,
    our_close: OurClose,
}

/// Event that ended the backend's side of the connection.
#[derive(Debug)]
enum BackendEnd {
    /// Its Close, which is echoed (section 5.5.1).
    Closed(Option<PeerClose>),
    /// A violation, which fails the connection (section 7.1.7).
    Violated(Violation),
}

/// Whether the gateway has sent its Close. It sends one, and nothing after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OurClose {
    Unsent,
    Sent,
}

impl BackendSocket {
    pub(super) fn new(
        reader: FrameReader<Reading>,
        writer: FrameWriter<Writing>,
        max_buffer: usize,
    ) -> Self {
        Self {
            reader,
            writer,
            max_buffer,
            unanswered: None,
            end: None,
            our_close: OurClose::Unsent,
        }
    }

    /// Whether more may be queued for the backend.
    pub(super) fn has_room(&self) -> bool {
        self.writer.queued() < self.max_buffer
    }

    /// Queues a ping, unless the connection is about to end.
    pub(super) fn ping(&mut self, payload: &[u8]) {
        if self.our_close == OurClose::Unsent {
            self.writer.ping(payload);
        }
    }

    /// The backend's next message that is no ping. The answers to its pings are queued, and are
    /// written by the next [`Self::poll_flush`].
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, ReadError>> {
        loop {
            match ready!(self.reader.poll_next(cx)) {
                Ok(Message::Ping(payload)) => {
                    self.unanswered = Some(payload);
                    self.answer_ping();
                }
                Ok(Message::Close(close)) => {
                    self.end = Some(BackendEnd::Closed(close.clone()));
                    return Poll::Ready(Ok(Message::Close(close)));
                }
                Err(ReadError::Violation(violation)) => {
                    self.end = Some(BackendEnd::Violated(violation));
                    return Poll::Ready(Err(violation.into()));
                }
                other => return Poll::Ready(other),
            }
        }
    }

    fn answer_ping(&mut self) {
        if self.has_room()
            && self.our_close == OurClose::Unsent
            && let Some(payload) = self.unanswered.take()
        {
            self.writer.pong(&payload);
        }
    }

    /// Writes the queue.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answer_ping();
        ready!(self.writer.poll_flush(cx))?;
        // There is room now.
        self.answer_ping();
        self.writer.poll_flush(cx)
    }

    /// Queues the gateway's Close, once. What the backend did comes before `code` and `reason`: its
    /// own Close is echoed, and a violation is named.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        if self.our_close == OurClose::Sent {
            return;
        }
        self.our_close = OurClose::Sent;
        match &self.end {
            Some(BackendEnd::Closed(Some(close))) => self.writer.close(close.code, &close.reason),
            Some(BackendEnd::Closed(None)) => self.writer.close_without_code(),
            Some(BackendEnd::Violated(violation)) => {
                self.writer
                    .close(violation.close_code(), &violation.to_string());
            }
            None => self.writer.close(code, reason),
        }
    }

    /// Answers the event that ended the backend's side, and lets it end the connection. A
    /// connection whose side did not end is dropped, because its transport failed or the backend is
    /// gone.
    pub(super) fn part(mut self) {
        if self.end.is_some() {
            self.close(0, "");
            self.leave();
        }
    }

    /// Lets the backend end the connection, in a task of its own: a socket that is dropped with
    /// unread input takes the Close with it.
    pub(super) fn leave(self) {
        tokio::spawn(timeout(CLOSE_TIMEOUT, self.until_ended()).in_current_span());
    }

    async fn until_ended(mut self) {
        if poll_fn(|cx| self.poll_flush(cx)).await.is_err() {
            return;
        }
        while self.end.is_none() {
            let next = poll_fn(|cx| self.poll_next(cx)).await;
            if next.is_err() && self.end.is_none() {
                return;
            }
        }
        // The server is the first to end the transport (section 7.1.1), and has until the
        // deadline.
        while let Ok(1..) = poll_fn(|cx| self.reader.poll_discard(cx)).await {}
    }
}
