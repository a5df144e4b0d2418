//! Deadlines and bounds of the connections of one route.

use std::time::Duration;

/// What happens to a stream whose token runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenExpiry {
    /// It ends with `token_expired`.
    Close,
    /// It goes on: the token is for admission only.
    Ignore,
}

/// Deadlines and bounds of the connections of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message; more is 1009.
    pub max_message: usize,
    /// Bytes that may wait to be written to a client before the host stops reading from it.
    pub max_outbound: usize,
    /// The host's own time between the upgrade and the ack or refusal.
    pub admission_timeout: Duration,
    /// How long the client may take to send its handshake.
    pub handshake_timeout: Duration,
    /// How long the client may send nothing at all.
    pub idle_timeout: Duration,
    /// How often the host pings a client.
    pub ping_interval: Duration,
    /// How long a message may stay unfinished.
    pub message_timeout: Duration,
    /// How long a write to the client may make no progress, and how long the
    /// upstream may take nothing.
    pub write_timeout: Duration,
    /// The pause between an error frame and the Close.
    pub settle: Duration,
    /// How long the host reads and discards after its Close.
    pub close_timeout: Duration,
    /// Bytes that are discarded after the Close at most.
    pub max_discard: u64,
    /// What happens to a stream whose token runs out.
    pub token_expiry: TokenExpiry,
    /// Bytes of messages that are taken of a client in a second, over time; as many as the upstream
    /// takes without it. Who sends more is not read for a while.
    pub max_rate: Option<u64>,
    /// How far audio may be ahead of real time; any distance without it.
    pub max_ahead: Option<Duration>,
    /// How long a stream waits for a client that was cut off; not without it.
    pub resume_grace: Option<Duration>,
    /// How long a stream may last; for ever without it.
    pub max_duration: Option<Duration>,
}

/// What frame policies are shown of a stream, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metering {
    /// How long a window lasts.
    pub window: Duration,
    /// Messages of a window whose kind, size and time are kept, the last ones.
    pub frames: usize,
    /// Bytes of payload that are kept of them at most; none where no policy of
    /// the route may see payloads.
    pub payload: usize,
}

impl Default for Metering {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(5),
            frames: 64,
            payload: 64 * 1024,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 256 * 1024,
            max_outbound: 64 * 1024,
            admission_timeout: Duration::from_secs(4),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
            ping_interval: Duration::from_secs(30),
            message_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            settle: Duration::from_millis(100),
            close_timeout: Duration::from_secs(2),
            max_discard: 16 * 1024 * 1024,
            token_expiry: TokenExpiry::Close,
            max_rate: Some(16 << 20),
            max_ahead: None,
            resume_grace: Some(Duration::from_secs(30)),
            max_duration: None,
        }
    }
}
