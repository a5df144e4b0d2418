//! Windows and ends of streams, for tests.

use std::collections::BTreeMap;

use crate::{Ending, Frame, Kind, Window};

/// Messages of a client in a window of time:
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
    /// Number of the window in the stream, from 0.
    pub index: u64,
    /// Duration of the window, in milliseconds.
    pub length_ms: u32,
    /// Part of the window in which the gateway did not read from the client, in milliseconds.
    pub held_ms: u32,
    /// Whether the client was paused at the end of the window.
    pub paused: bool,
    /// Messages, the oldest first. All of them are counted.
    pub frames: Vec<Frame>,
    /// Payloads that the gateway kept, by index in `frames`.
    pub payloads: BTreeMap<u32, Vec<u8>>,
}

impl Sent {
    /// Window with this many bytes, in one BINARY message.
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

    /// Window without messages.
    pub fn nothing(length_ms: u32) -> Self {
        Self {
            length_ms,
            ..Self::default()
        }
    }

    /// The window, as a policy sees it.
    pub fn window(&self) -> Window<'_> {
        Window::new(self)
    }
}

/// End of a connection: `Ended { streamed: false, ..Ended::default() }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Code of the error message, or another cause.
    pub cause: String,
    /// Close code that was sent to the client.
    pub close_code: u16,
    /// Side that ended it: `client`, `gateway` or `transport`.
    pub closed_by: String,
    /// Whether the client streamed.
    pub streamed: bool,
    /// Duration of the connection, in milliseconds.
    pub lasted_ms: u64,
    /// Number of bytes of BINARY payload from the client.
    pub received_bytes: u64,
    /// Number of bytes of payload that were sent from the upstream to the client.
    pub sent_bytes: u64,
}

impl Default for Ended {
    /// A finalized stream of one second.
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
    /// The end, as a policy sees it.
    pub fn ending(&self) -> Ending<'_> {
        Ending::new(self)
    }
}
