use crate::host::{frames, payload};

/// The kinds of message that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TEXT: on a route that speaks `ingest.v1`, what controls the stream.
    Text,
    /// BINARY: on such a route, audio.
    Binary,
}

/// One message of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: Kind,
    /// Bytes of its payload.
    pub size: u32,
    /// When it came, in microseconds since the window began.
    pub at_us: u32,
}

/// What a client sent in a stretch of time.
pub struct Window<'call> {
    window: &'call frames::Window,
}

impl<'call> Window<'call> {
    pub(crate) fn new(window: &'call frames::Window) -> Self {
        Self { window }
    }

    /// Which window of the stream it is, from 0.
    pub fn index(&self) -> u64 {
        self.window.index()
    }

    /// How long it lasted, in milliseconds.
    pub fn length_ms(&self) -> u32 {
        self.window.length_ms()
    }

    /// For how much of that the gateway did not read from the client, because
    /// the upstream or the client took nothing more.
    pub fn held_ms(&self) -> u32 {
        self.window.held_ms()
    }

    /// Whether the client had said that it pauses when the window ended.
    pub fn paused(&self) -> bool {
        self.window.paused()
    }

    /// How many messages of a kind came.
    pub fn count(&self, kind: Kind) -> u64 {
        self.window.count(kind.into())
    }

    /// The bytes of their payloads.
    pub fn bytes(&self, kind: Kind) -> u64 {
        self.window.bytes(kind.into())
    }

    /// The last messages of the window, the oldest first; the operator says
    /// how many are kept.
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

    /// The payload of a message, by its place in [`Window::frames`]; `None`
    /// where the gateway did not keep it. A policy that calls this needs the
    /// grant `payload`.
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
