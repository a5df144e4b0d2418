//! Stream: frames go up, messages come down, until something ends it.
//!
//! One task drives everything of a connection by polling. The host reads the
//! client's next frame only when the upstream is ready for it and when there
//! is room for an answer, so both sides are held back by TCP and neither can
//! make the host buffer without bound.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use super::cause::Cause;
use super::connection::{Connection, interrupted};
use super::handshake::{Negotiated, Ready};
use super::linger::{Heard, Peer};
use super::message::{ClientMessage, HostMessage};
use super::resume::{self, Left};
use super::watch::Watch;
use super::wire::Wire;
use crate::parking::pace::Pace;
use crate::parking::{Attachment, Remembered, Said, Stream};
use base::limits::{Limits, TokenExpiry};
use base::permits::{Charge, NoMemory};
use session::handshake::Handshake;
use upstream::{Control, Downward, Link, Presence, Upward};
use wire::frame::Message;

mod complete;
mod deadlines;
mod seal;

use complete::Client;
use seal::{confirmation, outcome, seal};

/// Messages that are relayed in one poll, before the task yields to other connections.
const BURST: usize = 64;

/// Connection whose upstream is sealed, ready for the close stage.
pub struct Finished {
    pub(super) connection: Box<Connection>,
    pub(super) cause: Cause,
    /// What the client sent while its stream was completed.
    pub(super) heard: Heard,
    /// Confirmation for a client that finalized.
    pub(super) finalized: Option<Vec<u8>>,
    /// Set if the client may reconnect to ask for that confirmation.
    pub(super) remembered: Option<Remembered>,
}

/// Relays until the stream ends, and seals its upstream.
///
/// Boxed, because an async fn's future keeps its arguments for its whole life.
pub async fn relay(ready: Box<Ready>) -> Finished {
    let Ready {
        mut connection,
        handshake,
        negotiated,
    } = *ready;
    let (mut stream, attachment) = match negotiated {
        Negotiated::Stream(stream, attachment) => (stream, attachment),
        Negotiated::Complete(bytes) => {
            return Finished {
                connection,
                cause: Cause::Finalized,
                heard: Heard::of(Peer::Speaking),
                finalized: Some(confirmation(bytes, handshake.as_ref())),
                remembered: None,
            };
        }
    };
    let mut heard = Heard::of(Peer::Speaking);
    let running = run(
        &mut connection,
        handshake.as_ref(),
        &mut stream,
        attachment.as_ref(),
        &mut heard,
    );
    let cause = running.await;
    connection.log.stage_ended("stream");
    stream.bytes += connection.log.bytes_up;
    let (stream, attachment) = match resume::park(&mut connection, stream, attachment, &cause) {
        Left::Ends(stream, attachment) => (stream, attachment),
        Left::Parked => {
            return Finished {
                connection,
                cause,
                heard,
                finalized: None,
                remembered: None,
            };
        }
    };
    let limits = Arc::clone(&connection.limits);
    let sealing = seal(stream.link, stream.charge, &cause, limits.write_timeout);
    let sealed = match (&cause, connection.wire()) {
        (Cause::Finalized | Cause::ClientDone, Some(wire)) => {
            let client = Client::of(wire, handshake.is_some(), limits.max_discard);
            Box::pin(client.attend(&mut heard, sealing)).await
        }
        _ => sealing.await,
    };
    connection.log.stage_ended("seal");
    let (cause, complete) = outcome(cause, sealed);
    Finished {
        connection,
        cause,
        heard,
        finalized: complete.map(|bytes| confirmation(bytes, handshake.as_ref())),
        remembered: complete.and_then(|bytes| attachment?.complete(bytes)),
    }
}

/// Waits until the client wants to resume the stream over another connection.
async fn wanted(attachment: Option<&Attachment>) {
    match attachment {
        // Boxed, so that a stream that cannot be resumed holds no memory for this future.
        Some(attachment) => Box::pin(attachment.wanted()).await,
        None => std::future::pending().await,
    }
}

async fn run(
    connection: &mut Connection,
    handshake: Option<&Handshake>,
    stream: &mut Stream,
    attachment: Option<&Attachment>,
    heard: &mut Heard,
) -> Cause {
    let session = connection.session.clone();
    let gateway = connection.gateway.clone();
    let watch = Watch::begin(connection);
    let Connection {
        wire, limits, log, ..
    } = connection;
    log.streamed = true;
    let Some(wire) = wire.as_mut() else {
        return Cause::Internal;
    };
    let token_ends = match limits.token_expiry {
        TokenExpiry::Close => session.expires_in().map(|left| Instant::now() + left),
        TokenExpiry::Ignore => None,
    };
    // Nothing was read while the upstream opened.
    let held = Input::Held {
        since: wire.reader.last_received(),
    };
    let Stream {
        link,
        pace,
        said,
        charge,
        ..
    } = stream;
    let mut relay = Relay {
        wire,
        link: &mut **link,
        said,
        returned: attachment,
        limits,
        log,
        json: handshake.is_some(),
        input: held,
        upstream_busy_since: None,
        token_ends,
        last_ping: Instant::now(),
        watch,
        pace,
        charge,
        request: session.facts.weight(),
    };
    let alarm = sleep_until(relay.next_deadline());
    let relaying = async {
        let cause = tokio::select! {
            biased;
            cause = relay.run(alarm) => cause,
            () = wanted(attachment) => return Cause::Resumed,
        };
        match cause {
            // In a box, so that a stream which runs holds no memory for its end.
            Cause::Finalized | Cause::ClientDone => Box::pin(relay.complete(cause, heard)).await,
            cause => cause,
        }
    };
    tokio::select! {
        biased;
        cause = interrupted(&session, &gateway) => cause,
        cause = relaying => cause,
    }
}

/// Whether the host is reading from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// It is, and the deadlines on input run.
    Read,
    /// It is not, because the upstream or the client is not taking what it is
    /// given, or the client has sent more than its rate.
    Held {
        /// Since when.
        since: Instant,
    },
}

struct Relay<'a> {
    wire: &'a mut Wire,
    link: &'a mut dyn Link,
    /// What the upstream said before this connection had it.
    said: &'a mut Said,
    /// Attachment of the stream until the client sends audio. That audio shows that the client has
    /// got the ack, and so knows the new resume token.
    returned: Option<&'a Attachment>,
    limits: &'a Limits,
    log: &'a mut super::connection_log::ConnectionLog,
    /// Whether TEXT is a message of `ingest.v1`.
    json: bool,
    input: Input,
    /// Since when the upstream takes nothing, where it does not.
    upstream_busy_since: Option<Instant>,
    token_ends: Option<Instant>,
    last_ping: Instant,
    /// There only where policies look at frames.
    watch: Option<Box<Watch>>,
    pace: &'a mut Pace,
    /// What the stream makes the gateway hold.
    charge: &'a mut Charge,
    /// Bytes of what the client asked with, which is kept.
    request: usize,
}

impl Relay<'_> {
    async fn run(&mut self, alarm: Sleep) -> Cause {
        tokio::pin!(alarm);
        std::future::poll_fn(|cx| self.poll(cx, alarm.as_mut())).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, alarm: Pin<&mut Sleep>) -> Poll<Cause> {
        if let Some(watch) = &mut self.watch
            && let Poll::Ready(cause) = watch.poll(cx, self.log)
        {
            return Poll::Ready(cause);
        }
        let moved = self.burst(cx);
        if let Poll::Ready(Err(cause)) = moved {
            return Poll::Ready(cause);
        }
        let was_full = !self.wire.has_room();
        if let Err(cause) = self.flush(cx) {
            return Poll::Ready(cause);
        }
        if let Err(refused) = self.weigh() {
            return Poll::Ready(refused.into());
        }
        // Whoever always has more to say waits behind its neighbours. And while
        // there was no room neither the upstream nor the client was asked for
        // more, so neither will wake us.
        if moved.is_ready() || was_full && self.wire.has_room() {
            cx.waker().wake_by_ref();
        }
        self.poll_alarm(cx, alarm)
    }

    /// Charges the memory that the connection holds.
    fn weigh(&mut self) -> Result<(), NoMemory> {
        self.wire.weigh(self.request)?;
        let watched = self.watch.as_ref().map_or(0, |watch| watch.held());
        let held = self.link.held() + self.said.bytes() + watched;
        self.charge.hold(held)
    }

    /// Relays messages in both directions until there are no more. Ready if there are more than
    /// [`BURST`].
    fn burst(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        for _ in 0..BURST {
            self.pull(cx)?;
            ready!(self.push(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what the upstream has for the client, while there is room.
    fn pull(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        while self.wire.has_room() {
            let next = match self.said.pop() {
                Some(message) => Poll::Ready(Ok(message)),
                None => self.link.poll_event(cx),
            };
            match next {
                Poll::Pending => break,
                Poll::Ready(Err(lost)) => return Err(Cause::UpstreamLost(lost)),
                Poll::Ready(Ok(Downward::Kept(bytes))) => {
                    self.wire.writer.text(&HostMessage::kept(bytes).to_json());
                }
                Poll::Ready(Ok(Downward::Upstream(presence))) => {
                    if self.json {
                        let status = HostMessage::status(match presence {
                            Presence::Here => "upstream_restored",
                            Presence::Away => "upstream_lost",
                        });
                        self.wire.writer.text(&status.to_json());
                    }
                }
                Poll::Ready(Ok(Downward::Close(close))) => {
                    return Err(Cause::UpstreamEnded(close));
                }
                Poll::Ready(Ok(Downward::Binary(payload))) => {
                    self.log.bytes_down += payload.len() as u64;
                    self.wire.writer.binary(&payload);
                }
                Poll::Ready(Ok(Downward::Text(text))) => {
                    self.log.bytes_down += text.len() as u64;
                    self.wire.writer.text(&text);
                }
            }
        }
        Ok(())
    }

    /// Takes one message from the client, if the upstream can take one.
    fn push(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        let ready = self.link.poll_ready(cx).map_err(Cause::UpstreamLost)?;
        if ready.is_ready() {
            self.upstream_busy_since = None;
        } else {
            self.upstream_busy_since.get_or_insert_with(Instant::now);
        }
        if ready.is_pending() || !self.wire.has_room() || self.pace.rests() {
            if self.input == Input::Read {
                self.input = Input::Held {
                    since: Instant::now(),
                };
                if let Some(watch) = &mut self.watch {
                    watch.holds();
                }
            }
            return Poll::Pending;
        }
        if let Input::Held { since } = self.input {
            self.input = Input::Read;
            self.wire.reader.resume(since.elapsed());
            if let Some(watch) = &mut self.watch {
                watch.reads();
            }
        }
        let message = ready!(self.wire.reader.poll_next(cx)).map_err(Cause::from)?;
        Poll::Ready(self.handle(message))
    }

    /// Flushes what is queued for either side, before waiting for more.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        if let Poll::Ready(Err(lost)) = self.link.poll_flush(cx) {
            return Err(Cause::UpstreamLost(lost));
        }
        self.wire.write_some(cx);
        Ok(())
    }

    fn handle(&mut self, message: Message) -> Result<(), Cause> {
        if let Some(watch) = &mut self.watch {
            watch.saw(&message);
        }
        if let Message::Binary(payload) | Message::Text(payload) = &message {
            self.pace.spend(payload.len());
        }
        match message {
            Message::Binary(payload) => {
                if let Some(attachment) = self.returned.take() {
                    attachment.token_is_known();
                }
                self.log.bytes_up += payload.len() as u64;
                let pace = self.pace.takes(payload.len());
                // What came in time is taken all the same.
                self.link.start_send(Upward::Binary(payload));
                pace.map_err(Cause::StreamLimit)?;
            }
            Message::Text(text) if self.json => return self.handle_json(text),
            Message::Text(text) => self.link.start_send(Upward::Text(text)),
            Message::Ping(payload) => self.wire.writer.pong(&payload),
            Message::Pong(_) => {}
            Message::Close(close) => return Err(Cause::ClientClosed(close)),
        }
        Ok(())
    }

    fn handle_json(&mut self, text: bytes::Bytes) -> Result<(), Cause> {
        match ClientMessage::parse(&text) {
            ClientMessage::Ping => self.answer(&HostMessage::pong()),
            ClientMessage::Pong => {}
            ClientMessage::Pause => {
                self.log.pauses += 1;
                self.pauses(true);
                self.link.start_send(Upward::Control(Control::Pause));
                self.answer(&HostMessage::status("paused"));
            }
            ClientMessage::Resume => {
                self.pauses(false);
                self.link.start_send(Upward::Control(Control::Resume));
                self.answer(&HostMessage::status("resumed"));
            }
            ClientMessage::Finalize => return Err(Cause::Finalized),
            ClientMessage::Close => return Err(Cause::ClientDone),
            ClientMessage::Unknown => {
                self.log.unknown_messages += 1;
                self.link.start_send(Upward::Text(text));
            }
        }
        Ok(())
    }

    fn pauses(&mut self, paused: bool) {
        if let Some(watch) = &mut self.watch {
            watch.paused(paused);
        }
    }

    fn answer(&mut self, message: &HostMessage<'_>) {
        self.wire.writer.text(&message.to_json());
    }
}

#[cfg(test)]
mod tests;
