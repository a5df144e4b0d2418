//! Lingering close: sends the last message and the Close, and waits until the client has them.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::wire::Wire;
use base::limits::Limits;
use wire::frame::{Message, ReadError};

/// Close code of a connection that fulfilled its purpose.
const NORMAL: u16 = 1000;

/// Last message to a client and its Close.
pub struct Last {
    /// TEXT message: an error frame, or the confirmation of a finalize.
    pub message: Option<Vec<u8>>,
    /// The close code.
    pub code: u16,
    /// The close reason, cut to size.
    pub reason: String,
    /// What the client has sent since the stream ended.
    pub heard: Heard,
}

/// What a client has sent since its stream ended.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// State of the client.
    pub peer: Peer,
    /// The client's Close, with its code if it has one.
    pub close: Option<Option<u16>>,
    /// Bytes that were read and thrown away.
    pub discarded: u64,
}

impl Heard {
    /// Nothing received, and this state of the client.
    #[must_use]
    pub const fn of(peer: Peer) -> Self {
        Self {
            peer,
            close: None,
            discarded: 0,
        }
    }
}

/// State of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// It may still be sending.
    Speaking,
    /// It has sent its Close.
    Closed,
    /// It broke the framing: what it sends means nothing any more.
    Lost,
    /// It does not read.
    Stalled,
    /// Its side of the transport has ended.
    Gone,
}

/// Whether the client got the last message and the Close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The client answered the Close with its own.
    Confirmed,
    /// They were handed to the transport. The client ended the transport, or its time to do so is
    /// over.
    Sent,
    /// The client did not read them in time.
    NotRead,
    /// The transport was gone.
    Failed,
}

impl Delivery {
    /// All values.
    pub const ALL: [Self; 4] = [Self::Confirmed, Self::Sent, Self::NotRead, Self::Failed];

    /// Value of the log field `delivery`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Sent => "sent",
            Self::NotRead => "not-read",
            Self::Failed => "failed",
        }
    }
}

/// Sends the last message and the Close, then waits until the client has received them or the
/// route's limits are reached.
pub(crate) async fn deliver(wire: &mut Wire, last: Last, limits: &Limits) -> Delivery {
    let mut lingering = Lingering {
        wire,
        peer: last.heard.peer,
        their_close: last.heard.close,
        discarded: last.heard.discarded,
        max_discard: limits.max_discard,
    };
    if let Some(message) = &last.message {
        lingering.wire.writer.text(message);
        // Apple's clients can drop a message that is followed at once by Close.
        if let Err(undelivered) = lingering.flush(limits).await {
            return undelivered;
        }
        lingering.settle(limits.settle).await;
    }
    // A client that closed meanwhile gets its own code back, as long as ours
    // would have said no more than that all is well.
    let code = match lingering.their_close {
        Some(Some(theirs)) if last.code == NORMAL => theirs,
        _ => last.code,
    };
    lingering.wire.writer.close(code, &last.reason);
    if let Err(undelivered) = lingering.flush(limits).await {
        return undelivered;
    }
    let deadline = within(limits.close_timeout);
    if lingering.peer == Peer::Speaking {
        lingering.until_closed(deadline).await;
    }
    // It may have ended its side right behind its Close.
    let confirmed = last.heard.peer == Peer::Closed || lingering.their_close.is_some();
    if lingering.shutdown(deadline).await.is_err() {
        return if confirmed {
            Delivery::Confirmed
        } else {
            Delivery::Failed
        };
    }
    lingering.until_eof(deadline).await;
    if confirmed {
        Delivery::Confirmed
    } else {
        Delivery::Sent
    }
}

/// Connection whose close is still being delivered.
struct Lingering<'a> {
    wire: &'a mut Wire,
    peer: Peer,
    /// The client's Close, with its code if it has one.
    their_close: Option<Option<u16>>,
    discarded: u64,
    max_discard: u64,
}

impl Lingering<'_> {
    /// Writes everything that is queued, and discards what arrives meanwhile:
    /// a client that is busy sending reads only when somebody takes it.
    async fn flush(&mut self, limits: &Limits) -> Result<(), Delivery> {
        let last_chance = within(limits.write_timeout);
        loop {
            let stalled = self.wire.writer.last_progress() + limits.close_timeout;
            // What was queued long ago gets a moment of its own all the same.
            let deadline = stalled.max(within(limits.settle)).min(last_chance);
            let before = self.wire.writer.queued();
            let flushed = timeout_at(
                deadline,
                std::future::poll_fn(|cx| {
                    let written = self.wire.writer.poll_flush(cx);
                    if written.is_pending() {
                        self.discard(cx);
                    }
                    written
                }),
            )
            .await;
            match flushed {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(Delivery::Failed),
                Err(_) if self.wire.writer.queued() == before || Instant::now() >= last_chance => {
                    return Err(Delivery::NotRead);
                }
                Err(_) => {}
            }
        }
    }

    /// Waits a little, unless the client has nothing more to say.
    async fn settle(&mut self, pause: Duration) {
        self.discard_until(within(pause), |peer| {
            matches!(peer, Peer::Closed | Peer::Gone)
        })
        .await;
    }

    /// Waits for the client's own Close.
    async fn until_closed(&mut self, deadline: Instant) {
        self.discard_until(deadline, |peer| peer != Peer::Speaking)
            .await;
    }

    /// Waits for the end of the transport: whoever conforms waits for ours,
    /// and then ends its side.
    async fn until_eof(&mut self, deadline: Instant) {
        self.discard_until(deadline, |peer| peer == Peer::Gone)
            .await;
    }

    async fn shutdown(&mut self, deadline: Instant) -> io::Result<()> {
        let shutdown = std::future::poll_fn(|cx| self.wire.writer.poll_shutdown(cx));
        timeout_at(deadline, shutdown)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn discard_until(&mut self, deadline: Instant, done: impl Fn(Peer) -> bool) {
        let discarding = std::future::poll_fn(|cx| {
            if done(self.peer) {
                return Poll::Ready(());
            }
            self.discard(cx);
            if done(self.peer) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        tokio::select! {
            biased;
            () = discarding => {}
            () = sleep_until(deadline) => {}
        }
    }

    /// Reads and throws away what has arrived, up to the bound. While framing
    /// is intact the frames are understood, to see the client's Close.
    fn discard(&mut self, cx: &mut Context<'_>) {
        while self.discarded < self.max_discard && self.peer != Peer::Gone {
            let before = self.wire.reader.total();
            let ready = match self.peer {
                Peer::Speaking => self.wire.reader.poll_next(cx).map(|next| match next {
                    Ok(Message::Close(close)) => {
                        self.their_close = Some(close.map(|close| close.code));
                        self.peer = Peer::Closed;
                    }
                    Ok(_) => {}
                    Err(ReadError::Violation(_)) => self.peer = Peer::Lost,
                    Err(ReadError::Eof | ReadError::Io(_)) => self.peer = Peer::Gone,
                }),
                Peer::Closed | Peer::Lost | Peer::Stalled => {
                    self.wire.reader.poll_discard(cx).map(|read| match read {
                        Ok(0) | Err(_) => self.peer = Peer::Gone,
                        Ok(_) => {}
                    })
                }
                Peer::Gone => return,
            };
            self.discarded += self.wire.reader.total() - before;
            if ready.is_pending() {
                return;
            }
        }
    }
}

/// What each has the bound of a write when a connection ends: completing what
/// its upstream has, sealing it, and writing the last message and the Close.
const WRITES: u32 = 4;

/// How long a connection may take to end once it is told to, but for the
/// policies that are told of it.
#[must_use]
pub fn longest(limits: &Limits) -> Duration {
    limits.write_timeout * WRITES + limits.settle + limits.close_timeout
}

/// A point in time that a bound gives.
fn within(bound: Duration) -> Instant {
    Instant::now() + bound
}

#[cfg(test)]
mod tests;
