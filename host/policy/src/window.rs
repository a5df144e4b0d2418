//! What a client sent in a stretch of time, as frame policies see it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

/// The kinds of message that RFC 6455 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TEXT
    Text,
    /// BINARY
    Binary,
}

/// Messages of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// How many.
    pub count: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its kind.
    pub kind: Kind,
    /// Bytes of its payload.
    pub size: u32,
    /// When it came, in microseconds since the window began.
    pub at_us: u32,
}

/// What a client sent in a stretch of time, as frame policies see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// Which window of the stream it is, from 0.
    pub index: u64,
    /// How long it lasted.
    pub length: Duration,
    /// For how much of that the host did not read.
    pub held: Duration,
    /// Whether the client had said that it pauses.
    pub paused: bool,
    /// TEXT messages.
    pub text: Total,
    /// BINARY messages.
    pub binary: Total,
    /// The last messages, the oldest first.
    pub frames: VecDeque<Frame>,
    /// Payloads of the last of `frames`.
    pub payloads: VecDeque<Bytes>,
}

impl Window {
    /// Bytes of memory that it takes, about.
    #[must_use]
    pub fn weight(&self) -> usize {
        let payloads: usize = self.payloads.iter().map(Bytes::len).sum();
        self.frames.len() * size_of::<Frame>() + payloads
    }

    /// A message came, so long after the window began. `kept` messages are
    /// remembered one by one.
    pub fn saw(&mut self, kind: Kind, size: usize, at: Duration, kept: usize) {
        let total = match kind {
            Kind::Text => &mut self.text,
            Kind::Binary => &mut self.binary,
        };
        total.count += 1;
        total.bytes += size as u64;
        if self.frames.len() >= kept {
            self.frames.pop_front();
        }
        self.frames.push_back(Frame {
            kind,
            size: u32::try_from(size).unwrap_or(u32::MAX),
            at_us: u32::try_from(at.as_micros()).unwrap_or(u32::MAX),
        });
    }

    /// The messages of a kind.
    #[must_use]
    pub fn total(&self, kind: Kind) -> Total {
        match kind {
            Kind::Text => self.text,
            Kind::Binary => self.binary,
        }
    }

    /// The payload of a message of `frames`, where it was kept.
    #[must_use]
    pub fn payload(&self, place: usize) -> Option<&Bytes> {
        let without = self.frames.len().checked_sub(self.payloads.len())?;
        self.payloads.get(place.checked_sub(without)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_belong_to_the_last_messages() {
        let frame = Frame {
            kind: Kind::Binary,
            size: 1,
            at_us: 0,
        };
        let window = Window {
            frames: [frame; 3].into(),
            payloads: [Bytes::from_static(b"b"), Bytes::from_static(b"c")].into(),
            ..Window::default()
        };
        let payloads: Vec<_> = (0..4).map(|place| window.payload(place)).collect();
        let (b, c) = (&window.payloads[0], &window.payloads[1]);
        assert_eq!(payloads, [None, Some(b), Some(c), None]);
    }
}
