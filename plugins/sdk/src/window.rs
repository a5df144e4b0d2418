use crate::host::{frames, payload};

/// Kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TEXT: control messages, on a route that speaks `ingest.v1`.
    Text,
    /// BINARY: audio, on such a route.
    Binary,
}

/// One message of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Kind of message.
    pub kind: Kind,
    /// Size of the payload, in bytes.
    pub size: u32,
    /// Time of arrival, in microseconds since the window began.
    pub at_us: u32,
}

/// Messages of a client in a window of time.
pub struct Window<'call> {
    window: &'call frames::Window,
}

impl<'call> Window<'call> {
    pub(crate) fn new(window: &'call frames::Window) -> Self {
        Self { window }
    }

    /// Number of the window in the stream, from 0.
    pub fn index(&self) -> u64 {
        self.window.index()
    }

    /// Duration of the window, in milliseconds.
    pub fn length_ms(&self) -> u32 {
        self.window.length_ms()
    }

    /// Part of the window in which the gateway did not read from the client, in milliseconds,
    /// because the upstream or the client accepted no more.
    pub fn held_ms(&self) -> u32 {
        self.window.held_ms()
    }

    /// Whether the client was paused at the end of the window.
    pub fn paused(&self) -> bool {
        self.window.paused()
    }

    /// Number of messages of a kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.window.count(kind.into())
    }

    /// Number of payload bytes of a kind.
    pub fn bytes(&self, kind: Kind) -> u64 {
        self.window.bytes(kind.into())
    }

    /// Last messages of the window, the oldest first. The operator configures how many are kept.
    pub fn frames(&self) -> Vec<Frame> {
        let sizes = self.window.sizes();
        let times = self.window.times_us();
        let kinds = self.window.kinds().into_iter();
        kinds
            .zip(sizes)
            .zip(times)
            .map(|((kind, size), at_us)| Frame {
                kind: kind.into(),
                size,
                at_us,
            })
            .collect()
    }

    /// Payload of a message, by index in [`Window::frames`]; `None` if the gateway did not keep it.
    /// A policy that calls this needs the grant `payload`.
    pub fn payload(&self, place: u32) -> Option<Vec<u8>> {
        payload::get(self.window, place)
    }
}

impl From<Kind> for frames::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

impl From<frames::Kind> for Kind {
    fn from(kind: frames::Kind) -> Self {
        match kind {
            frames::Kind::Text => Self::Text,
            frames::Kind::Binary => Self::Binary,
        }
    }
}
