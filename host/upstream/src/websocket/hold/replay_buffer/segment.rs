//! Segments of a replay buffer.

use bytes::Bytes;

/// Consecutive messages that are stored together.
pub(super) struct Segment {
    pub(super) storage: Storage,
    /// Length in bytes.
    pub(super) length: usize,
    /// Positions where its audio begins and ends.
    pub(super) begin: u64,
    pub(super) end: u64,
    /// Whether text or control messages follow its last audio. Nobody can know whether those
    /// arrived.
    pub(super) has_trailing_messages: bool,
    /// Whether the client had paused where it ends.
    pub(super) paused: bool,
}

/// Storage of a segment's bytes.
pub(super) enum Storage {
    /// In memory, and may grow.
    Open(Vec<u8>),
    /// In memory, and complete.
    Memory(Bytes),
    /// In the file, from this byte on.
    File(u64),
}

impl Segment {
    pub(super) fn is_open(&self) -> bool {
        matches!(self.storage, Storage::Open(_))
    }

    pub(super) fn is_in_file(&self) -> bool {
        matches!(self.storage, Storage::File(_))
    }

    /// Completes the segment, which takes no more messages.
    pub(super) fn shut(&mut self) {
        if let Storage::Open(bytes) = &mut self.storage {
            self.storage = Storage::Memory(std::mem::take(bytes).into());
        }
    }
}
