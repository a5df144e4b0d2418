//! A stream, apart from the connection that it is with.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::parking::pace::Pace;
use base::permits::{Charge, NoMemory};
use upstream::{Destination, Downward, Link, Lost};
use wire::frame::PeerClose;

/// What goes over from one connection of a client to its next.
pub struct Stream {
    /// Its upstream.
    pub link: Box<dyn Link>,
    /// Its backend and recording, for operators.
    pub destination: Arc<Destination>,
    /// Bytes of audio that the upstream was given.
    pub bytes: u64,
    /// Its length and speed: what is limited is the stream.
    pub pace: Box<Pace>,
    /// What its client has not been told.
    pub said: Box<Said>,
    /// What it makes the gateway hold.
    pub charge: Charge,
}

/// Messages of the upstream for a client that was away.
#[derive(Default)]
pub struct Said {
    messages: VecDeque<Downward>,
    bytes: usize,
    /// Of several receipts the last says all.
    kept: Option<u64>,
}

/// Why a stream is over though its client may come back.
pub(super) enum Over {
    Lost(Lost),
    Closed(PeerClose),
    Elsewhere,
    TooMuch(NoMemory),
}

impl Over {
    /// Why a stream is over that another gateway has taken.
    pub(super) const ELSEWHERE: &str = "another gateway goes on with it";

    /// For the operator.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Lost(lost) => format!("{:#}", lost.detail),
            Self::Elsewhere => String::new(),
            Self::TooMuch(refused) => refused.to_string(),
            Self::Closed(close) => format!("it closed with {} \"{}\"", close.code, close.reason),
        }
    }
}

impl Stream {
    /// One that begins now.
    #[must_use]
    pub fn begin(
        link: Box<dyn Link>,
        destination: Arc<Destination>,
        pace: Pace,
        charge: Charge,
    ) -> Self {
        Self {
            link,
            destination,
            bytes: 0,
            pace: Box::new(pace),
            said: Box::default(),
            charge,
        }
    }

    /// Does for the upstream what its client's connection did, and keeps what
    /// it says. Once that is `max_said` bytes, and one message may go past it,
    /// the upstream is asked for no more, and is held back as by any client that
    /// does not read.
    pub(super) fn poll_away(&mut self, cx: &mut Context<'_>, max_said: usize) -> Poll<Over> {
        while self.said.bytes < max_said {
            match self.link.poll_event(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(lost)) => return Poll::Ready(Over::Lost(lost)),
                Poll::Ready(Ok(Downward::Close(close))) => return Poll::Ready(Over::Closed(close)),
                Poll::Ready(Ok(Downward::TakenOver)) => return Poll::Ready(Over::Elsewhere),
                Poll::Ready(Ok(message)) => self.said.keep(message),
            }
        }
        match self.link.poll_flush(cx) {
            Poll::Ready(Err(lost)) => Poll::Ready(Over::Lost(lost)),
            Poll::Ready(Ok(())) | Poll::Pending => {
                let held = self.link.held() + self.said.bytes();
                match self.charge.hold(held) {
                    Ok(()) => Poll::Pending,
                    Err(refused) => Poll::Ready(Over::TooMuch(refused)),
                }
            }
        }
    }
}

impl Said {
    /// The next message for the client.
    pub fn pop(&mut self) -> Option<Downward> {
        let Some(message) = self.messages.pop_front() else {
            return self.kept.take().map(Downward::Kept);
        };
        self.bytes -= weight(&message);
        Some(message)
    }

    /// Bytes of what is kept.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn keep(&mut self, message: Downward) {
        if let Downward::Kept(bytes) = message {
            self.kept = Some(bytes);
            return;
        }
        self.bytes += weight(&message);
        self.messages.push_back(message);
    }
}

/// Empty messages are not free either.
fn weight(message: &Downward) -> usize {
    match message {
        Downward::Text(bytes) | Downward::Binary(bytes) => bytes.len().max(1),
        Downward::Upstream(_) => 1,
        // These are not queued.
        Downward::Kept(_) | Downward::Close(_) | Downward::TakenOver => 0,
    }
}
