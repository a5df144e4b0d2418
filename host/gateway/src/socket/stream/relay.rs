//! One step of a relay: frames go up, messages come down, and what is queued is written.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

use super::renewal::Renewals;
use crate::parking::pace::Pace;
use crate::parking::{Attachment, Said};
use crate::socket::cause::Cause;
use crate::socket::connection_log::ConnectionLog;
use crate::socket::handshake::ClientProtocol;
use crate::socket::message::HostMessage;
use crate::socket::watch::Watch;
use crate::socket::wire::Wire;
use base::limits::Limits;
use base::metrics;
use base::permits::{Charge, NoMemory};
use session::registry::Session;
use upstream::{Destination, Downward, Link, Presence};

/// Messages that are relayed in one poll, before the task yields to other connections.
pub(super) const BURST: usize = 64;

/// Whether the host is reading from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// It is, and the deadlines on input run.
    Read,
    /// It is not, because the upstream or the client is not taking what it is
    /// given, or the client has sent more than its rate.
    Held {
        /// Since when.
        since: Instant,
    },
}

/// A stream that runs, and everything that ends it.
pub(super) struct Relay<'a> {
    pub(super) session: &'a Session,
    pub(super) wire: &'a mut Wire,
    pub(super) link: &'a mut dyn Link,
    /// What the upstream said before this connection had it.
    pub(super) said: &'a mut Said,
    /// Attachment of the stream until the client sends audio. That audio shows that the client has
    /// got the ack, and so knows the new resume token.
    pub(super) returned: Option<&'a Attachment>,
    pub(super) limits: &'a Limits,
    pub(super) log: &'a mut ConnectionLog,
    pub(super) speaks: ClientProtocol,
    pub(super) input: Input,
    /// Since when the upstream takes nothing, where it does not.
    pub(super) upstream_busy_since: Option<Instant>,
    pub(super) renewals: Renewals<'a>,
    pub(super) last_ping: Instant,
    /// There only where policies look at frames.
    pub(super) watch: Option<Box<Watch>>,
    pub(super) pace: &'a mut Pace,
    pub(super) destination: &'a Destination,
    /// What the stream makes the gateway hold.
    pub(super) charge: &'a mut Charge,
    /// Bytes of what the client asked with, which is kept.
    pub(super) request: usize,
}

impl Relay<'_> {
    /// Relays what there is. Ready when something ends the stream.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, alarm: Pin<&mut Sleep>) -> Poll<Cause> {
        if let Some(watch) = &mut self.watch
            && let Poll::Ready(cause) = watch.poll(cx, self.log)
        {
            return Poll::Ready(cause);
        }
        self.send_notices();
        let moved = self.burst(cx);
        if let Poll::Ready(Err(cause)) = moved {
            return Poll::Ready(cause);
        }
        // A token may have come just now.
        self.poll_renewal(cx);
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

    /// Sends what policies want the client to know. There is something at the beginning, and once a
    /// policy has looked at the stream.
    fn send_notices(&mut self) {
        for notice in self.session.take_notices() {
            if self.speaks == ClientProtocol::Plain {
                metrics::notices_dropped(&notice.policy, 1);
                continue;
            }
            metrics::notice_sent(&notice.policy);
            let message = HostMessage::notice(&notice.code, &notice.message);
            self.wire.writer.text(&message.to_json());
        }
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
    pub(super) fn pull(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        while self.wire.has_room() {
            let next = match self.said.pop() {
                Some(message) => Poll::Ready(Ok(message)),
                None => self.link.poll_event(cx),
            };
            match next {
                Poll::Pending => break,
                Poll::Ready(Err(lost)) => return Err(lost.into()),
                Poll::Ready(Ok(Downward::Kept(bytes))) => {
                    self.destination.told_kept(bytes);
                    self.wire.writer.text(&HostMessage::kept(bytes).to_json());
                }
                Poll::Ready(Ok(Downward::Upstream(presence))) => {
                    if self.speaks != ClientProtocol::Plain {
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
                Poll::Ready(Ok(Downward::TakenOver)) => return Err(Cause::TakenOver),
                Poll::Ready(Ok(Downward::Binary(payload))) => {
                    self.log.live.has_sent(payload.len());
                    self.wire.writer.binary(&payload);
                }
                Poll::Ready(Ok(Downward::Text(text))) => {
                    self.log.live.has_sent(text.len());
                    self.wire.writer.text(&text);
                }
            }
        }
        Ok(())
    }

    /// Takes one message from the client, if the upstream can take one.
    fn push(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        let ready = self.link.poll_ready(cx).map_err(Cause::from)?;
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
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        if let Poll::Ready(Err(lost)) = self.link.poll_flush(cx) {
            return Err(lost.into());
        }
        self.wire.write_some(cx);
        Ok(())
    }
}
