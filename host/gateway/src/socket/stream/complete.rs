//! Completion of a stream: the client has finalized, and the upstream takes the remaining audio and
//! sends its last messages.
//!
//! That lasts as long as the upstream needs: a backend that is away may take a minute. The client
//! is still there meanwhile, so its pings are answered and its Close is seen. What else it sends
//! belongs to no stream any more and is thrown away, within a bound.
//!
//! A stream that is being completed has no way back: its backend was told that it is over. A client
//! that was cut off and returns waits for the end, and is told of that.

use std::task::{Context, Poll};

use tokio::time::timeout;

use super::relay::{BURST, Relay};
use crate::socket::cause::Cause;
use crate::socket::handshake::ClientProtocol;
use crate::socket::linger::{Heard, Peer};
use crate::socket::message::{ClientMessage, HostMessage};
use crate::socket::wire::Wire;
use wire::frame::{Message, ReadError};

impl Relay<'_> {
    /// Waits until the upstream has taken everything, and passes its last messages on. If the
    /// client does not read them, or is gone, the upstream is sealed all the same.
    pub(super) async fn complete(&mut self, cause: Cause, heard: &mut Heard) -> Cause {
        let limit = self.limits.write_timeout + self.link.outage();
        let max_discard = self.limits.max_discard;
        let completing = std::future::poll_fn(|cx| {
            loop {
                self.pull(cx)?;
                FinalizedClient::of(self.wire, self.speaks, max_discard).listen(heard, cx);
                let full = !self.wire.has_room();
                self.wire.write_some(cx);
                // As in `poll`: nobody will wake us for what has room only now.
                if full && self.wire.has_room() {
                    continue;
                }
                return self.link.poll_complete(cx).map_err(Cause::from);
            }
        });
        match timeout(limit, completing).await {
            Ok(Err(failed)) => failed,
            // Sealing waits once more, and says it where that was in vain.
            Ok(Ok(())) | Err(_) => cause,
        }
    }
}

/// A client that has nothing more to send, but may still ask whether the gateway is there.
pub(super) struct FinalizedClient<'a> {
    wire: &'a mut Wire,
    speaks: ClientProtocol,
    max_discard: u64,
}

impl<'a> FinalizedClient<'a> {
    pub(super) fn of(wire: &'a mut Wire, speaks: ClientProtocol, max_discard: u64) -> Self {
        Self {
            wire,
            speaks,
            max_discard,
        }
    }

    /// Answers what the client asks, until the other future is done.
    pub(super) async fn attend<T>(
        mut self,
        heard: &mut Heard,
        until: impl Future<Output = T>,
    ) -> T {
        let answering = std::future::poll_fn(|cx| {
            self.listen(heard, cx);
            self.wire.write_some(cx);
            Poll::<T>::Pending
        });
        tokio::select! {
            biased;
            done = until => done,
            never = answering => never,
        }
    }

    /// Reads what has arrived, while there is room for an answer.
    fn listen(&mut self, heard: &mut Heard, cx: &mut Context<'_>) {
        for _ in 0..BURST {
            if heard.peer != Peer::Speaking
                || heard.discarded >= self.max_discard
                || !self.wire.has_room()
            {
                return;
            }
            let before = self.wire.reader.total();
            let Poll::Ready(next) = self.wire.reader.poll_next(cx) else {
                heard.discarded += self.wire.reader.total() - before;
                return;
            };
            heard.discarded += self.wire.reader.total() - before;
            match next {
                Ok(Message::Ping(payload)) => self.wire.writer.pong(&payload),
                Ok(Message::Text(text)) if self.speaks != ClientProtocol::Plain => {
                    if let ClientMessage::Ping = ClientMessage::parse(&text) {
                        self.wire.writer.text(&HostMessage::pong().to_json());
                    }
                }
                Ok(Message::Close(close)) => {
                    heard.close = Some(close.map(|close| close.code));
                    heard.peer = Peer::Closed;
                }
                Ok(Message::Text(_) | Message::Binary(_) | Message::Pong(_)) => {}
                Err(ReadError::Violation(_)) => heard.peer = Peer::Lost,
                Err(ReadError::Eof | ReadError::Io(_)) => heard.peer = Peer::Gone,
            }
        }
        // A client that always has more to say yields to the other connections of the thread.
        cx.waker().wake_by_ref();
    }
}
