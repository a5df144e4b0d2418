//! What a stream brought and its backend may still need: the end of it, in
//! order, from a place that the backend is known to have reached.
//!
//! A tape is read once for each connection to the backend. It is rewound when a
//! connection is lost, and its beginning is forgotten as the backend gets on.
//! What it holds is bounded: in memory first, then in a file ([`Spill`]).

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes};

use super::spill::{Done, Spill};
use crate::link::{Control, Upward};

/// Bytes after which a segment takes no more messages.
const SEGMENT: usize = 32 * 1024;
/// Bytes in front of each message: its kind and its length.
const HEAD: usize = 5;

const BINARY: u8 = 0;
const TEXT: u8 = 1;
const PAUSE: u8 = 2;
const RESUME: u8 = 3;

/// See the module. Places are bytes of audio from the beginning of the stream.
pub(super) struct Tape {
    segments: VecDeque<Segment>,
    /// The number of the first segment; they are counted from 0.
    first: u64,
    head: Head,
    /// Audio before this place is passed over: a segment is kept as a whole.
    from: u64,
    /// Where the tape ends.
    taken: u64,
    /// Whether the client had paused where the tape begins.
    paused: bool,
    /// Bytes of segments that are in memory, and how many may be.
    memory: usize,
    max_memory: usize,
    spill: Option<Spill>,
    /// A segment that was read back.
    loaded: Option<(u64, Bytes)>,
}

/// Where the next message is read.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    /// The index of the segment.
    segment: usize,
    /// The byte in it.
    at: usize,
    /// The place in the stream.
    place: u64,
}

/// Messages that came together.
struct Segment {
    bytes: Place,
    /// Its bytes, wherever they are.
    length: usize,
    /// Where its audio begins and ends.
    begin: u64,
    end: u64,
    /// Whether something comes behind the last of its audio, of which nobody
    /// can know that it arrived.
    ends_with_words: bool,
    /// Whether the client had paused where it ends.
    paused: bool,
}

enum Place {
    /// It may grow.
    Open(Vec<u8>),
    Memory(Bytes),
    /// From this byte of the file on.
    File(u64),
}

impl Tape {
    /// An empty tape that has so many bytes in memory at the most, and one
    /// message.
    pub(super) fn new(max_memory: usize, spill: Option<Spill>) -> Self {
        Self {
            segments: VecDeque::new(),
            first: 0,
            head: Head::default(),
            from: 0,
            taken: 0,
            paused: false,
            memory: 0,
            max_memory,
            spill,
            loaded: None,
        }
    }

    /// Where the tape ends: bytes of audio that it was given.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Where it is read.
    pub(super) fn place(&self) -> u64 {
        self.head.place
    }

    /// Whether everything was read.
    pub(super) fn is_read(&self) -> bool {
        match self.segments.get(self.head.segment) {
            None => true,
            Some(segment) => {
                self.head.segment + 1 == self.segments.len() && self.head.at == segment.length
            }
        }
    }

    /// Whether it can take one more message.
    pub(super) fn has_room(&self) -> bool {
        self.memory < self.max_memory
    }

    /// Bytes that are in memory.
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
                bytes: Place::Open(Vec::new()),
                length: 0,
                begin: taken,
                end: taken,
                ends_with_words: false,
                paused,
            });
        }
        let Some(segment) = self.segments.back_mut() else {
            return;
        };
        let Place::Open(bytes) = &mut segment.bytes else {
            return;
        };
        bytes.reserve(HEAD + payload.len());
        bytes.put_u8(kind);
        // No message is longer than its route allows, which fits.
        bytes.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        bytes.put_slice(payload);
        segment.length = bytes.len();
        self.memory += HEAD + payload.len();
        match kind {
            BINARY => {
                self.taken += payload.len() as u64;
                segment.end = self.taken;
                segment.ends_with_words = false;
            }
            _ => segment.ends_with_words = true,
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

    /// The next message; `None` at the end. Pending while it is read back.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Upward>>> {
        loop {
            let Some(segment) = self.segments.get(self.head.segment) else {
                return Poll::Ready(Ok(None));
            };
            if self.head.at == segment.length {
                if self.head.segment + 1 == self.segments.len() {
                    return Poll::Ready(Ok(None));
                }
                self.head.segment += 1;
                self.head.at = 0;
                self.loaded = None;
                continue;
            }
            let number = self.first + self.head.segment as u64;
            let (mut rest, shared) = match (&segment.bytes, &self.loaded) {
                (Place::Open(bytes), _) => (&bytes[self.head.at..], None),
                (Place::Memory(bytes), _) => (&bytes[self.head.at..], Some(bytes)),
                (Place::File(_), Some((loaded, bytes))) if *loaded == number => {
                    (&bytes[self.head.at..], Some(bytes))
                }
                (Place::File(at), _) => {
                    let (at, length) = (*at, segment.length);
                    ready!(self.poll_load(cx, number, at, length))?;
                    continue;
                }
            };
            let kind = rest.get_u8();
            let length = rest.get_u32_le() as usize;
            let begin = self.head.at + HEAD;
            let payload = match shared {
                Some(bytes) => bytes.slice(begin..begin + length),
                None => Bytes::copy_from_slice(&rest[..length]),
            };
            self.head.at = begin + length;
            if let Some(message) = self.read(kind, payload) {
                return Poll::Ready(Ok(Some(message)));
            }
        }
    }

    /// The message, or what is left of it behind the place that reading begins
    /// at.
    fn read(&mut self, kind: u8, mut payload: Bytes) -> Option<Upward> {
        match kind {
            BINARY => {
                let begin = self.head.place;
                self.head.place += payload.len() as u64;
                if self.head.place <= self.from && !payload.is_empty() {
                    return None;
                }
                let known = self.from.saturating_sub(begin);
                payload.advance(usize::try_from(known).unwrap_or(payload.len()));
                Some(Upward::Binary(payload))
            }
            TEXT => (self.head.place >= self.from).then_some(Upward::Text(payload)),
            // To say again that it pauses does no harm, and where it begins to is
            // told by the segment.
            PAUSE => Some(Upward::Control(Control::Pause)),
            _ => Some(Upward::Control(Control::Resume)),
        }
    }

    /// Lets go of what comes before a place and was read.
    pub(super) fn forget(&mut self, before: u64) {
        while let Some(segment) = self.segments.front() {
            let is_read = self.head.segment > 0 || self.head.at == segment.length;
            let is_known =
                segment.end < before || segment.end == before && !segment.ends_with_words;
            if !is_read || !is_known {
                return;
            }
            self.paused = segment.paused;
            if !matches!(segment.bytes, Place::File(_)) {
                self.memory -= segment.length;
            }
            self.segments.pop_front();
            self.first += 1;
            match self.head.segment.checked_sub(1) {
                Some(before) => self.head.segment = before,
                None => self.head.at = 0,
            }
        }
    }

    /// Gives the file's space back where nothing in it is needed.
    fn clear_file(&mut self) {
        if let Some(spill) = &mut self.spill
            && !spill.is_empty()
            && self.segments.iter().all(|segment| !segment.is_in_file())
        {
            spill.clear();
        }
    }

    /// Begins to read again at a place that was not forgotten.
    pub(super) fn rewind(&mut self, to: u64) {
        let begin = self
            .segments
            .front()
            .map_or(self.taken, |first| first.begin);
        self.head = Head {
            segment: 0,
            at: 0,
            place: begin,
        };
        self.loaded = None;
        self.from = to;
    }

    /// Moves segments into the file while there are too many in memory.
    pub(super) fn poll_spill(&mut self, cx: &mut Context<'_>) {
        loop {
            let Some(spill) = &mut self.spill else { return };
            match spill.poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Done::Written { number, at })) => self.spilled(number, at),
                Poll::Ready(Some(Done::Read { number, bytes })) => {
                    self.loaded = Some((number, bytes));
                }
                Poll::Ready(Some(Done::Failed(error))) => {
                    // What is in the file can still be read; more does not go in.
                    tracing::warn!(%error, "held audio cannot be written to a file");
                    return;
                }
                Poll::Ready(None) => {
                    self.clear_file();
                    if self.memory < self.max_memory / 2 || !self.start_to_spill() {
                        return;
                    }
                }
            }
        }
    }

    /// The newest is needed last.
    fn start_to_spill(&mut self) -> bool {
        let in_memory = |segment: &Segment| matches!(segment.bytes, Place::Memory(_));
        if !self.segments.iter().any(in_memory)
            && let Some(last) = self.segments.back_mut()
        {
            last.shut();
        }
        let Some(spill) = &mut self.spill else {
            return false;
        };
        let Some(index) = self.segments.iter().rposition(in_memory) else {
            return false;
        };
        match &self.segments[index].bytes {
            Place::Memory(bytes) => spill.write(self.first + index as u64, bytes.clone()),
            Place::Open(_) | Place::File(_) => false,
        }
    }

    fn spilled(&mut self, number: u64, at: u64) {
        let Some(index) = number.checked_sub(self.first) else {
            return;
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(segment) = self.segments.get_mut(index) {
            segment.bytes = Place::File(at);
            self.memory -= segment.length;
        }
    }

    fn poll_load(
        &mut self,
        cx: &mut Context<'_>,
        number: u64,
        at: u64,
        length: usize,
    ) -> Poll<io::Result<()>> {
        loop {
            let Some(spill) = &mut self.spill else {
                return Poll::Ready(Err(io::ErrorKind::NotFound.into()));
            };
            match ready!(spill.poll(cx)) {
                Some(Done::Read { number, bytes }) => {
                    self.loaded = Some((number, bytes));
                    return Poll::Ready(Ok(()));
                }
                Some(Done::Written { number, at }) => self.spilled(number, at),
                Some(Done::Failed(error)) => return Poll::Ready(Err(error)),
                None => spill.read(number, at, length)?,
            }
        }
    }

    fn is_paused(&self) -> bool {
        self.segments.back().map_or(self.paused, |last| last.paused)
    }
}

impl Segment {
    fn is_open(&self) -> bool {
        matches!(self.bytes, Place::Open(_))
    }

    fn is_in_file(&self) -> bool {
        matches!(self.bytes, Place::File(_))
    }

    fn shut(&mut self) {
        if let Place::Open(bytes) = &mut self.bytes {
            self.bytes = Place::Memory(std::mem::take(bytes).into());
        }
    }
}

#[cfg(test)]
mod tests;
