//! Frames of RFC 6455: a reader that assembles messages within limits, and a writer that never
//! tears a frame.
//!
//! tungstenite parses the header of a frame. This module owns what a gateway must control: limits
//! that hold before anything is allocated, no read buffer while a connection is idle, and no
//! automatic replies.

use std::io;

use bytes::Bytes;

mod mask;
mod reader;
mod writer;

pub use reader::FrameReader;
pub use writer::FrameWriter;

/// A complete message from the peer, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// TEXT message, valid UTF-8.
    Text(Bytes),
    /// BINARY message.
    Binary(Bytes),
    /// Ping, with the payload that its Pong must carry.
    Ping(Bytes),
    /// Pong, with the payload of its Ping.
    Pong(Bytes),
    /// Close. Everything after it is ignored.
    Close(Option<PeerClose>),
}

/// Code and reason of a peer's Close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerClose {
    /// Close code, one that is allowed on the wire.
    pub code: u16,
    /// Reason, at most 123 bytes.
    pub reason: String,
}

/// Violation of RFC 6455, or of a limit of the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Violation of sections 5.1 to 5.5: masks, reserved bits and opcodes, fragments, control
    /// frames, the form of a Close.
    #[error("{0}")]
    Protocol(&'static str),
    /// Text that is not UTF-8 (section 8.1).
    #[error("text is not UTF-8")]
    NotUtf8,
    /// Message that is larger than the route allows.
    #[error("message is larger than this route allows")]
    TooBig,
    /// Message that was not finished in time.
    #[error("message was not finished in time")]
    Unfinished,
}

impl Violation {
    /// Code of the Close that answers the violation (section 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) | Self::Unfinished => 1002,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
        }
    }
}

/// Reason why there is no next message.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The peer violated the protocol. The stream of frames cannot be read any further.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The transport ended without a Close.
    #[error("the transport ended")]
    Eof,
    /// The transport failed.
    #[error("the transport broke: {0}")]
    Io(#[from] io::Error),
}
