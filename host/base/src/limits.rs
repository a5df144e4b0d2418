//! Deadlines and limits of the connections of one route.

use std::time::Duration;

/// Effect of a token's expiry on its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenExpiry {
    /// The stream ends with `token_expired`.
    Close,
    /// The stream continues: the token is for admission only.
    Ignore,
}

/// Deadlines and limits of the connections of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of a message, in bytes. A larger one is closed with 1009.
    pub max_message: usize,
    /// Maximum number of bytes that wait to be written to a client. Above it the gateway stops
    /// reading from that client.
    pub max_outbound: usize,
    /// Time between the upgrade and the ack or refusal, without the time that the client takes.
    pub admission_timeout: Duration,
    /// Time that the client may take to send its handshake.
    pub handshake_timeout: Duration,
    /// Time that the client may send nothing at all.
    pub idle_timeout: Duration,
    /// Interval between pings to a client.
    pub ping_interval: Duration,
    /// Time that a message may stay incomplete.
    pub message_timeout: Duration,
    /// Time that a write to the client may make no progress, and that the upstream may accept
    /// nothing.
    pub write_timeout: Duration,
    /// Pause between an error message and the Close.
    pub settle: Duration,
    /// Time that the gateway reads and discards after its Close.
    pub close_timeout: Duration,
    /// Maximum number of bytes that the gateway discards after its Close.
    pub max_discard: u64,
    /// Effect of a token's expiry on its stream.
    pub token_expiry: TokenExpiry,
    /// Time before a token's expiry at which its client is told, if it asked for that. Zero: never.
    pub token_notice: Duration,
    /// Rate limit of a client, in bytes of messages per second, averaged over time. The gateway
    /// pauses reading from a client that exceeds it. `None`: only the upstream limits the rate.
    pub max_rate: Option<u64>,
    /// Maximum distance of audio ahead of real time. `None` is unlimited.
    pub max_ahead: Option<Duration>,
    /// Time that a stream waits for a client that was cut off. `None`: streams cannot be resumed.
    pub resume_grace: Option<Duration>,
    /// Maximum duration of a stream. `None` is unlimited.
    pub max_duration: Option<Duration>,
}

/// Window of a stream that frame policies see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metering {
    /// Duration of a window.
    pub window: Duration,
    /// Number of messages, the last of a window, of which kind, size and time are kept.
    pub frames: usize,
    /// Maximum number of payload bytes that are kept of them. 0 if no policy of the route may see
    /// payloads.
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
            token_notice: Duration::from_mins(1),
            max_rate: Some(16 << 20),
            max_ahead: None,
            resume_grace: Some(Duration::from_secs(30)),
            max_duration: None,
        }
    }
}
