//! What policies of a stream are asked about, written down by a test.

use std::collections::BTreeMap;

use crate::{Ending, Frame, Kind, Window};

/// What a client sent in a window of time:
///
/// ```
/// use sluice_policy::testing::Sent;
/// use sluice_policy::Kind;
///
/// let sent = Sent { paused: true, ..Sent::audio(5_000, 160_000) };
/// assert_eq!(sent.window().bytes(Kind::Binary), 160_000);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Which window of the stream it is, from 0.
    pub index: u64,
    /// How long it lasted, in milliseconds.
    pub length_ms: u32,
    /// For how much of that the gateway did not read from the client.
    pub held_ms: u32,
    /// Whether the client had said that it pauses when the window ended.
    pub paused: bool,
    /// The messages, the oldest first. All of them are counted.
    pub frames: Vec<Frame>,
    /// The payloads that the gateway kept, by their place in `frames`.
    pub payloads: BTreeMap<u32, Vec<u8>>,
}

impl Sent {
    /// A window in which so many bytes came, in one BINARY message.
    pub fn audio(length_ms: u32, bytes: u32) -> Self {
        Self {
            length_ms,
            frames: vec![Frame {
                kind: Kind::Binary,
                size: bytes,
                at_us: 0,
            }],
            ..Self::default()
        }
    }

    /// A window in which nothing came.
    pub fn nothing(length_ms: u32) -> Self {
        Self {
            length_ms,
            ..Self::default()
        }
    }

    /// As a policy sees it.
    pub fn window(&self) -> Window<'_> {
        Window::new(self)
    }
}

/// How a connection ended: `Ended { streamed: false, ..Ended::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The word of the error frame, or what else ended it.
    pub cause: String,
    /// The close code that the client was sent.
    pub close_code: u16,
    /// Who ended it: `client`, `gateway` or `transport`.
    pub closed_by: String,
    /// Whether it got as far as to stream.
    pub streamed: bool,
    /// How long it lasted, in milliseconds.
    pub lasted_ms: u64,
    /// Bytes of BINARY payload that came from the client.
    pub received_bytes: u64,
    /// Bytes of payload from the upstream that the client was sent.
    pub sent_bytes: u64,
}

impl Default for Ended {
    /// The client finalized a stream of one second.
    fn default() -> Self {
        Self {
            cause: "finalized".to_owned(),
            close_code: 1000,
            closed_by: "gateway".to_owned(),
            streamed: true,
            lasted_ms: 1_000,
            received_bytes: 32_000,
            sent_bytes: 0,
        }
    }
}

impl Ended {
    /// As a policy is told of it.
    pub fn ending(&self) -> Ending<'_> {
        Ending::new(self)
    }
}
