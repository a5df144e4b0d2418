//! Attachment of a connection to the slot of its stream.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Parking;
use super::rooms::Room;
use super::slot::{Slot, SlotState, Stored, StreamState};
use super::stream::Stream;
use super::token::{Token, TokenDigest};
use base::shutdown::Shutdown;
use session::registry::SessionGuard;

/// Attachment of a connection to its stream's slot.
///
/// Dropping it removes the slot with its tokens, unless another connection has taken the stream.
pub struct Attachment {
    pub(super) parking: Arc<Parking>,
    pub(super) slot: Arc<Slot>,
    pub(super) sequence: u64,
    pub(super) token: Token,
    /// Counts the stream among those that the next process can go on with.
    pub(super) durable: Option<TaskTrackerToken>,
}

impl Attachment {
    /// Resume token of the stream. Only its client may see it.
    #[must_use]
    pub fn token(&self) -> &str {
        self.token.as_str()
    }

    /// Waits until a later connection wants the stream.
    pub async fn wanted(&self) {
        let wanted = |slot: &mut SlotState| slot.is_wanted().then_some(());
        self.slot.until(wanted).await;
    }

    /// Waits until another gateway has taken the stream.
    pub(crate) async fn taken_elsewhere(&self) {
        let taken = |slot: &mut SlotState| slot.is_elsewhere.then_some(());
        self.slot.until(taken).await;
    }

    /// Waits until another process takes over, if the stream can go on there.
    pub async fn handed_over(&self, shutdown: &Shutdown) {
        match self.durable {
            Some(_) => shutdown.handed_over().await,
            None => std::future::pending().await,
        }
    }

    /// Invalidates the token that the client presented, since it has shown that it knows the new
    /// one.
    pub(crate) fn token_is_known(&self) {
        let mut slot = self.slot.lock();
        if slot.holder != self.sequence {
            return;
        }
        let known = self.token.digest();
        let unused = |token: &mut TokenDigest| *token != known;
        let unused: Vec<_> = slot.tokens.extract_if(.., unused).collect();
        drop(slot);
        self.parking.forget(&unused);
        self.parking.forget_shared(&unused);
    }

    /// Remembers that the stream is complete. Returns `None` if there is no room.
    #[must_use]
    pub fn complete(mut self, bytes: u64) -> Option<Remembered> {
        let room = self.parking.remembered.take(&self.slot.client)?;
        self.slot.lock().stream = StreamState::Complete(bytes);
        self.store_that_complete(bytes);
        // Nothing more of it is written here.
        self.durable = None;
        self.slot.has_changed();
        Some(Remembered {
            attachment: self,
            _room: room,
        })
    }

    /// Whether the store has a record of the stream, so that the next process can go on with it.
    /// Nobody goes on with a stream without audio.
    pub(crate) fn is_stored(&self) -> bool {
        let slot = self.slot.lock();
        let is_empty = matches!(&slot.stream, StreamState::Parked(stream, _) if stream.bytes == 0);
        slot.holder == self.sequence && slot.stored == Stored::Yes && !is_empty
    }

    /// Leaves the stream's record in the store, if there is one, for the next process.
    pub(crate) fn leave_stored(&self) {
        if self.is_stored() {
            self.slot.lock().stored = Stored::No;
        }
    }

    /// Makes this token lead to the slot.
    pub(super) fn add_token(&self, token: TokenDigest) {
        self.slot.lock().tokens.push(token.clone());
        let slot = Arc::clone(&self.slot);
        self.parking.lock().insert(token, slot);
    }

    /// Detaches from the slot, and returns the stream that is parked in it. Does nothing if another
    /// connection has taken the stream.
    pub(super) fn detach(&self) -> Option<(Stream, SessionGuard)> {
        let mut slot = self.slot.lock();
        if slot.holder != self.sequence {
            return None;
        }
        let before = std::mem::replace(&mut slot.stream, StreamState::Gone);
        let tokens = std::mem::take(&mut slot.tokens);
        let stored = std::mem::replace(&mut slot.stored, Stored::No);
        slot.room = None;
        drop(slot);
        self.parking.forget(&tokens);
        if stored == Stored::Yes {
            self.parking.forget_stored(&self.slot.stream, &tokens);
        }
        // Wakes waiting connections: the stream is gone.
        self.slot.has_changed();
        match before {
            StreamState::Parked(stream, guard) => Some((stream, guard)),
            StreamState::Live | StreamState::Complete(_) | StreamState::Gone => None,
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        drop(self.detach());
    }
}

/// Complete stream whose client may not have been told so. It keeps only the slot, which is removed
/// when this is dropped.
pub struct Remembered {
    pub(super) attachment: Attachment,
    pub(super) _room: Room,
}

impl Remembered {
    /// Keeps the slot for the grace period, so that the client can ask.
    pub async fn stay(self, grace: Duration, shutdown: Shutdown) {
        tokio::select! {
            biased;
            () = shutdown.leaving() => self.attachment.leave_stored(),
            () = sleep(grace) => {}
        }
    }
}
