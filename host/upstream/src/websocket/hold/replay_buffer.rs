//! Replay buffer: the messages of a stream that its backend may still need, in order.
//!
//! It begins at a position that the backend is known to have reached. It is read once for each
//! connection to the backend: when a connection is lost, reading starts again from the beginning.
//! What the backend has confirmed is discarded. The buffer is bounded. It uses memory first, then a
//! file ([`Spill`]).

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes};

use self::segment::{Segment, Storage};
use super::spill::Spill;
use crate::link::{Control, Upward};

mod segment;
mod spilling;

/// Bytes after which a segment takes no more messages.
const SEGMENT: usize = 32 * 1024;
/// Bytes of the header of each message: its kind and its length.
const HEADER: usize = 5;

const BINARY: u8 = 0;
const TEXT: u8 = 1;
const PAUSE: u8 = 2;
const RESUME: u8 = 3;

/// Replay buffer of one stream. Positions are bytes of audio from the beginning of the stream.
pub(super) struct ReplayBuffer {
    segments: VecDeque<Segment>,
    /// Number of the first segment. Segments are counted from 0.
    first: u64,
    cursor: Cursor,
    /// Position where reading begins. Audio before it is skipped: segments are kept whole.
    from: u64,
    /// Position where the buffer ends.
    taken: u64,
    /// Whether the client had paused at the position where the buffer begins.
    paused: bool,
    /// Bytes of segments that are in memory.
    memory: usize,
    max_memory: usize,
    spill: Option<Spill>,
    /// A segment that was read back.
    loaded: Option<(u64, Bytes)>,
}

/// Read position of the next message.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    /// Index of the segment.
    segment: usize,
    /// Offset in the segment, in bytes.
    at: usize,
    /// Position in the stream.
    position: u64,
}

impl ReplayBuffer {
    /// Empty buffer with at most this many bytes in memory. The last message may exceed that.
    pub(super) fn new(max_memory: usize, spill: Option<Spill>) -> Self {
        Self {
            segments: VecDeque::new(),
            first: 0,
            cursor: Cursor::default(),
            from: 0,
            taken: 0,
            paused: false,
            memory: 0,
            max_memory,
            spill,
            loaded: None,
        }
    }

    /// Position where the buffer ends: all bytes of audio that were added.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Position of the next message to read.
    pub(super) fn position(&self) -> u64 {
        self.cursor.position
    }

    /// Whether all messages were read.
    pub(super) fn is_read(&self) -> bool {
        match self.segments.get(self.cursor.segment) {
            None => true,
            Some(segment) => {
                self.cursor.segment + 1 == self.segments.len() && self.cursor.at == segment.length
            }
        }
    }

    /// Whether the buffer can take one more message.
    pub(super) fn has_room(&self) -> bool {
        self.memory < self.max_memory
    }

    /// Bytes in memory.
    pub(super) fn held(&self) -> usize {
        let loaded = self.loaded.as_ref();
        self.memory + loaded.map_or(0, |(_, bytes)| bytes.len())
    }

    /// Whether the client had paused where reading begins anew.
    pub(super) fn begins_paused(&self) -> bool {
        self.paused
    }

    /// Adds a message to the end.
    pub(super) fn push(&mut self, message: &Upward) {
        let (kind, payload): (u8, &[u8]) = match message {
            Upward::Binary(audio) => (BINARY, audio),
            Upward::Text(text) => (TEXT, text),
            Upward::Control(Control::Pause) => (PAUSE, &[]),
            Upward::Control(Control::Resume) => (RESUME, &[]),
        };
        let (taken, paused) = (self.taken, self.is_paused());
        if !matches!(self.segments.back(), Some(segment) if segment.is_open()) {
            self.segments.push_back(Segment {
                storage: Storage::Open(Vec::new()),
                length: 0,
                begin: taken,
                end: taken,
                has_trailing_messages: false,
                paused,
            });
        }
        let Some(segment) = self.segments.back_mut() else {
            return;
        };
        let Storage::Open(bytes) = &mut segment.storage else {
            return;
        };
        bytes.reserve(HEADER + payload.len());
        bytes.put_u8(kind);
        // The route's limit on messages is below 4 GiB.
        bytes.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        bytes.put_slice(payload);
        segment.length = bytes.len();
        self.memory += HEADER + payload.len();
        match kind {
            BINARY => {
                self.taken += payload.len() as u64;
                segment.end = self.taken;
                segment.has_trailing_messages = false;
            }
            _ => segment.has_trailing_messages = true,
        }
        match kind {
            PAUSE => segment.paused = true,
            RESUME => segment.paused = false,
            _ => {}
        }
        if segment.length >= SEGMENT {
            segment.shut();
        }
    }

    /// Next message; `None` at the end. Pending while it is read back from the file.
    ///
    /// If the file cannot be read.
    /// If the file cannot be read.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Upward>>> {
        loop {
            let Some(segment) = self.segments.get(self.cursor.segment) else {
                return Poll::Ready(Ok(None));
            };
            if self.cursor.at == segment.length {
                if self.cursor.segment + 1 == self.segments.len() {
                    return Poll::Ready(Ok(None));
                }
                self.cursor.segment += 1;
                self.cursor.at = 0;
                self.loaded = None;
                continue;
            }
            let number = self.first + self.cursor.segment as u64;
            let (mut rest, shared) = match (&segment.storage, &self.loaded) {
                (Storage::Open(bytes), _) => (&bytes[self.cursor.at..], None),
                (Storage::Memory(bytes), _) => (&bytes[self.cursor.at..], Some(bytes)),
                (Storage::File(_), Some((loaded, bytes))) if *loaded == number => {
                    (&bytes[self.cursor.at..], Some(bytes))
                }
                (Storage::File(at), _) => {
                    let (at, length) = (*at, segment.length);
                    ready!(self.poll_load(cx, number, at, length))?;
                    continue;
                }
            };
            let kind = rest.get_u8();
            let length = rest.get_u32_le() as usize;
            let begin = self.cursor.at + HEADER;
            let payload = match shared {
                Some(bytes) => bytes.slice(begin..begin + length),
                None => Bytes::copy_from_slice(&rest[..length]),
            };
            self.cursor.at = begin + length;
            if let Some(message) = self.read(kind, payload) {
                return Poll::Ready(Ok(Some(message)));
            }
        }
    }

    /// Message without the part that lies before the position where reading begins.
    fn read(&mut self, kind: u8, mut payload: Bytes) -> Option<Upward> {
        match kind {
            BINARY => {
                let begin = self.cursor.position;
                self.cursor.position += payload.len() as u64;
                if self.cursor.position <= self.from && !payload.is_empty() {
                    return None;
                }
                let known = self.from.saturating_sub(begin);
                payload.advance(usize::try_from(known).unwrap_or(payload.len()));
                Some(Upward::Binary(payload))
            }
            TEXT => (self.cursor.position >= self.from).then_some(Upward::Text(payload)),
            // A repeated pause does no harm. Whether the stream is paused where reading begins is
            // known from the segment.
            PAUSE => Some(Upward::Control(Control::Pause)),
            _ => Some(Upward::Control(Control::Resume)),
        }
    }

    /// Discards the segments that were read and end before a position.
    pub(super) fn forget(&mut self, before: u64) {
        while let Some(segment) = self.segments.front() {
            let is_read = self.cursor.segment > 0 || self.cursor.at == segment.length;
            let is_known =
                segment.end < before || segment.end == before && !segment.has_trailing_messages;
            if !is_read || !is_known {
                return;
            }
            self.paused = segment.paused;
            if !matches!(segment.storage, Storage::File(_)) {
                self.memory -= segment.length;
            }
            self.segments.pop_front();
            self.first += 1;
            match self.cursor.segment.checked_sub(1) {
                Some(before) => self.cursor.segment = before,
                None => self.cursor.at = 0,
            }
        }
    }

    /// Starts to read again at a position that was not discarded.
    pub(super) fn rewind(&mut self, to: u64) {
        let begin = self
            .segments
            .front()
            .map_or(self.taken, |first| first.begin);
        self.cursor = Cursor {
            segment: 0,
            at: 0,
            position: begin,
        };
        self.loaded = None;
        self.from = to;
    }

    fn is_paused(&self) -> bool {
        self.segments.back().map_or(self.paused, |last| last.paused)
    }
}

#[cfg(test)]
mod tests;
