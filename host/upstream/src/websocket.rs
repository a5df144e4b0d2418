//! Backend that speaks WebSocket. Each stream is relayed over its own connection.
//!
//! The gateway dials the backend after it has admitted the client, with a URL from a [`Template`]
//! and headers that identify the client. It forwards the client's handshake unchanged, then audio
//! and control messages. The backend's messages go to the client, in order. The gateway consumes
//! the backend's answer to the handshake and its confirmation of the end, and sends its own to the
//! client.
//!
//! TCP alone provides backpressure. Data that waits for the backend is limited by `max_buffer` and
//! one message, data that waits for the client by the route's `max_outbound` and one message.

use std::time::Duration;

use axum::http::HeaderName;

use self::backends::Rest;
pub use self::dialer::Dialer;
use self::reply::Replies;
use self::template::Template;
pub use self::transport::Trust;
use super::space::Watermark;
use super::wav::Recordings;

mod acknowledgements;
mod backend_socket;
pub mod backends;
mod dialer;
mod hold;
mod link;
mod marks;
mod opening;
mod pool;
pub mod reply;
mod request;
mod resolve;
mod silence;
mod start;
mod tee;
pub mod template;
mod transport;

/// Last part of the header for an attribute. Underscores become hyphens, because many servers drop
/// headers with underscores.
#[must_use]
pub fn header_word(attribute: &str) -> String {
    attribute.to_ascii_lowercase().replace(['.', '_'], "-")
}

/// Configuration of a backend.
#[derive(Debug, Clone)]
pub struct WebSocket {
    /// URL template of a stream.
    pub url: Template,
    /// Hosts and ports where the backend listens. Empty: the host and port of `url`.
    pub addresses: Vec<(String, u16)>,
    /// Circuit breaker: when an address is taken out of use, and for how long.
    pub rest: Rest,
    /// Number of idle connections that are kept to each address.
    pub warm_connections: usize,
    /// Attribute that names the client's user.
    pub user: String,
    /// Attribute that names the client's tenant.
    pub tenant: String,
    /// Further attributes that the backend gets.
    pub attributes: Vec<String>,
    /// Headers of the client that the backend gets.
    pub forward_headers: Vec<HeaderName>,
    /// Whether the backend gets the client's token.
    pub token: TokenForwarding,
    /// Whether the backend answers the handshake and the end.
    pub replies: Replies,
    /// Meaning of an ack to the client.
    pub receipts: Promise,
    /// Certificate authorities for `wss://`.
    pub trust: Option<Trust>,
    /// Maximum size of a message from the backend, in bytes.
    pub max_message: usize,
    /// Maximum number of bytes that wait for the backend before the client is held back; one more
    /// message may exceed it.
    pub max_buffer: usize,
    /// Time that the backend may stay silent.
    pub silence_timeout: Duration,
    /// Effect of a lost backend on its streams.
    pub on_loss: OnLoss,
    /// Recording of the streams, if they are recorded too.
    pub tee: Option<Recordings>,
    /// Free space, in bytes, below which neither a recording nor a file of held messages begins.
    pub min_free: Watermark,
}

impl WebSocket {
    /// Maximum number of descriptors that one stream has open: its connection, its recording, and
    /// the file of held messages.
    #[must_use]
    pub fn descriptors(&self) -> u32 {
        let held = matches!(&self.on_loss, OnLoss::Hold(hold) if hold.file > 0);
        1 + u32::from(self.tee.is_some()) + u32::from(held)
    }
}

/// Effect of a lost backend on its streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnLoss {
    /// The stream ends.
    Fail,
    /// The stream continues, and waits for the backend.
    Hold(Hold),
}

/// Waiting of a stream for its backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Data that is sent again after the backend came back.
    pub replay: Replay,
    /// Maximum time that the backend may be away.
    pub timeout: Duration,
    /// Maximum number of bytes that are held in memory, beside one message.
    pub memory: usize,
    /// Maximum number of further bytes that are held in a file.
    pub file: u64,
    /// Maximum number of bytes that all streams of the upstream hold in files.
    pub files: u64,
}

/// Position where a stream continues after its backend came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// After what the backend has confirmed.
    Confirmed,
    /// After what the backend is known to have read. The backend is told how much of the following
    /// audio it may have already.
    AtLeastOnce,
    /// After what was sent to the backend. The backend is told how much it may have missed.
    AtMostOnce,
}

/// Forwarding of the client's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenForwarding {
    /// The token stays in the gateway.
    Withheld,
    /// The backend gets the token, as `Authorization: Bearer`.
    Forwarded,
}

/// Promise of an `ack` to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// No promise: clients that ask get no `ack`.
    None,
    /// The kernel has accepted the audio, to send it to the backend.
    Sent,
    /// The backend has confirmed the audio, with `{"type":"ack","bytes":N}`.
    Confirmed,
    /// The audio is recorded too, and the disk has it.
    Recorded,
}
