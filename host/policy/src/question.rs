//! What a policy is asked.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::Sent;
use crate::window::Window;
use base::closed_by::ClosedBy;

/// Question to the policies of a chain, with what it is about. A clone copies no text.
#[derive(Debug, Clone)]
pub enum Question {
    /// `on-connect`
    Connect,
    /// `on-handshake`, with the client's handshake message.
    Handshake(Arc<str>),
    /// `on-frames`, with what the client sent lately.
    Frames(Arc<Window>),
    /// `on-close`. There is nothing left to decide: a policy that was told has accepted.
    Close(Arc<Ending>),
}

impl Question {
    /// The hook that answers it.
    #[must_use]
    pub const fn hook(&self) -> Hook {
        match self {
            Self::Connect => Hook::Connect,
            Self::Handshake(_) => Hook::Handshake,
            Self::Frames(_) => Hook::Frames,
            Self::Close(_) => Hook::Close,
        }
    }

    /// The part of the client's input that it is about.
    pub(crate) const fn sent(&self) -> Sent {
        match self {
            Self::Connect => Sent::Request,
            Self::Handshake(_) => Sent::Handshake,
            Self::Frames(_) | Self::Close(_) => Sent::Stream,
        }
    }

    /// Bytes of the client's input that the guest is given with the call.
    pub(crate) fn given(&self) -> usize {
        match self {
            Self::Handshake(text) => text.len(),
            Self::Connect | Self::Frames(_) | Self::Close(_) => 0,
        }
    }

    /// Bytes of memory that it keeps, about.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Handshake(text) => text.len(),
            Self::Frames(window) => window.weight(),
            Self::Connect | Self::Close(_) => 0,
        }
    }
}

/// Function of a policy that the gateway calls about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// `on-connect`
    Connect,
    /// `on-handshake`
    Handshake,
    /// `on-frames`
    Frames,
    /// `on-close`
    Close,
}

impl Hook {
    /// All of them, in the order of a connection's life.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Handshake, Self::Frames, Self::Close];

    /// Its name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "on-connect",
            Self::Handshake => "on-handshake",
            Self::Frames => "on-frames",
            Self::Close => "on-close",
        }
    }
}

/// How a connection ended, as policies are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The word of the error frame, or what else ended it.
    pub cause: Cow<'static, str>,
    /// The close code that was sent.
    pub close_code: u16,
    /// Which side ended it.
    pub closed_by: ClosedBy,
    /// Whether it got as far as to stream.
    pub streamed: bool,
    /// From the upgrade on.
    pub lasted: Duration,
    /// Bytes of BINARY payload from the client.
    pub received_bytes: u64,
    /// Bytes of payload that the client was sent by the upstream.
    pub sent_bytes: u64,
}
