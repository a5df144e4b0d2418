//! A backend that speaks WebSocket: each stream is relayed over a connection of
//! its own.
//!
//! The backend is dialled once the client was admitted, with an address made
//! from a [`Template`] and with headers that say who the client is. It gets the
//! client's handshake as the client sent it, then audio and control messages,
//! and whatever it says goes to the client, in order. Its answer to the
//! handshake and its confirmation of the end are the host's business: they are
//! consumed, and the host's own stand in their place.
//!
//! Either side holds the other back by TCP alone: what waits for the backend is
//! bounded by `max_buffer` and one message, what waits for the client by the
//! route's `max_outbound` and one message.

use std::time::Duration;

use axum::http::HeaderName;

use self::backends::Rest;
pub use self::dialer::Dialer;
use self::reply::Replies;
use self::template::Template;
pub use self::transport::Trust;
use super::space::Watermark;
use super::wav::Recordings;

mod backend_socket;
pub mod backends;
mod dialer;
mod hold;
mod link;
mod marks;
mod opening;
mod pool;
mod receipts;
pub mod reply;
mod request;
mod resolve;
mod silence;
mod tee;
pub mod template;
mod transport;

/// The last part of an attribute's header: many servers drop headers with
/// underscores.
#[must_use]
pub fn header_word(attribute: &str) -> String {
    attribute.to_ascii_lowercase().replace(['.', '_'], "-")
}

/// A backend, as it is configured.
#[derive(Debug, Clone)]
pub struct WebSocket {
    /// The address of a stream.
    pub url: Template,
    /// Where it listens; what `url` names, where there are none.
    pub addresses: Vec<(String, u16)>,
    /// When an address is left alone.
    pub rest: Rest,
    /// Connections to each address that are made before they are needed.
    pub warm_connections: usize,
    /// The attribute that names the client's user.
    pub user: String,
    /// The attribute that names the client's tenant.
    pub tenant: String,
    /// More attributes that the backend is told.
    pub attributes: Vec<String>,
    /// Headers of the client that the backend gets.
    pub forward_headers: Vec<HeaderName>,
    /// Whether the backend gets the client's token.
    pub token: Token,
    /// What the backend answers.
    pub replies: Replies,
    /// What it means that something is safe with the backend.
    pub receipts: Promise,
    /// Whom to trust, for `wss://`.
    pub trust: Option<Trust>,
    /// Bytes of the longest message that is taken from the backend.
    pub max_message: usize,
    /// Bytes that may wait for the backend before the client is held back; one
    /// message may go past it.
    pub max_buffer: usize,
    /// How long the backend may give no sign of life.
    pub silence_timeout: Duration,
    /// What becomes of a stream whose backend is lost.
    pub on_loss: OnLoss,
    /// Where streams are recorded as well.
    pub tee: Option<Recordings>,
    /// Free space below which no recording begins, and no file is written for what is held.
    pub min_free: Watermark,
}

impl WebSocket {
    /// Descriptors that one stream may have open at once: its connection, its recording, and the
    /// file for what its backend misses.
    #[must_use]
    pub fn descriptors(&self) -> u32 {
        let held = matches!(&self.on_loss, OnLoss::Hold(hold) if hold.file > 0);
        1 + u32::from(self.tee.is_some()) + u32::from(held)
    }
}

/// What becomes of a stream whose backend is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnLoss {
    /// It ends.
    Fail,
    /// It goes on, and waits for the backend to come back.
    Hold(Hold),
}

/// How a stream waits for its backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What a backend is sent that has come back.
    pub replay: Replay,
    /// How long it may be away.
    pub timeout: Duration,
    /// Bytes that are held in memory, beside one message.
    pub memory: usize,
    /// Bytes that are held in a file beyond these.
    pub file: u64,
    /// Bytes that all streams of the upstream hold in files together.
    pub files: u64,
}

/// Where a stream goes on at a backend that has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Behind what the backend has confirmed.
    Confirmed,
    /// Behind what the backend is known to have read: it is told how much of
    /// what comes it may have had.
    AtLeastOnce,
    /// Behind what the backend was sent: it is told how much it may have missed.
    AtMostOnce,
}

/// What becomes of the client's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// It goes no further than the host.
    Withheld,
    /// The backend gets it, as `Authorization: Bearer`.
    Forwarded,
}

/// What the client's `ack` promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// There is none: clients that ask for it get no `ack`.
    None,
    /// The kernel has taken it, to send it to the backend.
    Sent,
    /// The backend has confirmed it, with `{"type":"ack","bytes":N}`.
    Confirmed,
    /// It is recorded as well, and the disk has it.
    Recorded,
}
