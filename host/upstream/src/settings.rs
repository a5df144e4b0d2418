//! Settings of a destination of streams: `[upstreams.NAME]`.

use super::jetstream::JetStream;
use super::space::Watermark;
use super::wav::Recordings;
use super::websocket::WebSocket;

/// `[upstreams.NAME]`
#[derive(Debug, Clone)]
pub enum Upstream {
    /// Records each stream as a WAV file.
    Wav {
        /// Folder of the recordings, and how long they stay.
        recordings: Recordings,
        /// Free space, in bytes, below which no recording begins.
        min_free: Watermark,
    },
    /// Sends every message back.
    Echo,
    /// Counts and drops messages.
    Discard,
    /// Relays each stream to a backend.
    WebSocket(Box<WebSocket>),
    /// Keeps each stream in NATS `JetStream`.
    JetStream(JetStream),
}

impl Upstream {
    /// Its `kind` in the configuration.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Wav { .. } => "wav",
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::WebSocket(_) => "websocket",
            Self::JetStream(_) => "jetstream",
        }
    }

    /// Maximum number of descriptors that one stream has open at once.
    #[must_use]
    pub fn descriptors(&self) -> u32 {
        match self {
            Self::Wav { .. } => 1,
            Self::Echo | Self::Discard | Self::JetStream(_) => 0,
            Self::WebSocket(backend) => backend.descriptors(),
        }
    }

    /// Number of idle connections that are kept for future streams.
    #[must_use]
    pub fn warm(&self) -> usize {
        match self {
            Self::WebSocket(backend) => backend.warm_connections * backend.addresses.len().max(1),
            Self::Wav { .. } | Self::Echo | Self::Discard | Self::JetStream(_) => 0,
        }
    }

    /// Settings of the recordings, if the upstream records.
    #[must_use]
    pub fn recordings(&self) -> Option<&Recordings> {
        match self {
            Self::Wav { recordings, .. } => Some(recordings),
            Self::WebSocket(backend) => backend.tee.as_ref(),
            Self::Echo | Self::Discard | Self::JetStream(_) => None,
        }
    }
}
