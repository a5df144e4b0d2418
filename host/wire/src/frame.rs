//! Frames of RFC 6455: a reader that assembles messages within bounds, and a
//! writer that can be interrupted without tearing a frame.
//!
//! The layout of a frame's header is tungstenite's. What is here is what a
//! gateway needs to own: bounds that hold before anything is allocated, no
//! read buffer while a connection is idle, and no automatic replies.

use std::io;

use bytes::Bytes;

mod mask;
mod reader;
mod writer;

pub use reader::FrameReader;
pub use writer::FrameWriter;

/// A whole message from the peer, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// TEXT; valid UTF-8.
    Text(Bytes),
    /// BINARY.
    Binary(Bytes),
    /// Ping, with what the Pong has to carry.
    Ping(Bytes),
    /// Pong, with what the Ping had carried.
    Pong(Bytes),
    /// Close. Nothing that comes after it is looked at.
    Close(Option<PeerClose>),
}

/// What a peer's Close said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerClose {
    /// A code that may be on the wire.
    pub code: u16,
    /// Up to 123 bytes.
    pub reason: String,
}

/// How a peer broke RFC 6455, or a bound of the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Sections 5.1 to 5.5: masks, reserved bits and opcodes, fragments,
    /// control frames, the form of a Close.
    #[error("{0}")]
    Protocol(&'static str),
    /// Section 8.1.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// More than the route allows for one message.
    #[error("message is larger than this route allows")]
    TooBig,
    /// A message was begun and not ended in time.
    #[error("message was not finished in time")]
    Unfinished,
}

impl Violation {
    /// The code of the Close that answers it (section 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) | Self::Unfinished => 1002,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
        }
    }
}

/// Why there is no next message.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Framing is lost.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The transport ended without a Close.
    #[error("the transport ended")]
    Eof,
    /// The transport broke.
    #[error("the transport broke: {0}")]
    Io(#[from] io::Error),
}
