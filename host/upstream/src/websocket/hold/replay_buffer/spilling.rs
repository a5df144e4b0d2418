//! Movement of a replay buffer's segments into its file, and back.

use std::io;
use std::task::{Context, Poll, ready};

use super::super::spill::Done;
use super::ReplayBuffer;
use super::segment::{Segment, Storage};

impl ReplayBuffer {
    /// Frees the file's space if no segment is in it any more.
    fn clear_file(&mut self) {
        if let Some(spill) = &mut self.spill
            && !spill.is_empty()
            && self.segments.iter().all(|segment| !segment.is_in_file())
        {
            spill.clear();
        }
    }

    /// Moves segments into the file while there are too many in memory.
    pub(in super::super) fn poll_spill(&mut self, cx: &mut Context<'_>) {
        loop {
            let Some(spill) = &mut self.spill else { return };
            match spill.poll(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Done::Written { number, at })) => self.spilled(number, at),
                Poll::Ready(Some(Done::Read { number, bytes })) => {
                    self.loaded = Some((number, bytes));
                }
                Poll::Ready(Some(Done::Failed(error))) => {
                    // The file can still be read. Nothing more is written to it.
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

    /// Starts to write the newest segment to the file, because it is needed last.
    fn start_to_spill(&mut self) -> bool {
        let in_memory = |segment: &Segment| matches!(segment.storage, Storage::Memory(_));
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
        match &self.segments[index].storage {
            Storage::Memory(bytes) => spill.write(self.first + index as u64, bytes.clone()),
            Storage::Open(_) | Storage::File(_) => false,
        }
    }

    pub(super) fn spilled(&mut self, number: u64, at: u64) {
        let Some(index) = number.checked_sub(self.first) else {
            return;
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(segment) = self.segments.get_mut(index) {
            segment.storage = Storage::File(at);
            self.memory -= segment.length;
        }
    }

    /// Reads a segment back from the file.
    pub(super) fn poll_load(
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
}
