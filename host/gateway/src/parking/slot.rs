//! Slot of one resumable stream, across all of its connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::owner::Owner;
use super::rooms::{CountedClient, Room};
use super::stream::Stream;
use super::token::TokenDigest;
use session::registry::SessionGuard;

/// Slot of one resumable stream, across all of its connections.
pub(super) struct Slot {
    pub(super) owner: Owner,
    /// Client that the room of the parked stream is counted for.
    pub(super) client: CountedClient,
    /// ID of the session that began the stream.
    pub(super) stream: Arc<str>,
    state: Mutex<SlotState>,
    changed: Notify,
}

pub(super) struct SlotState {
    pub(super) stream: StreamState,
    /// Sequence number of the connection that has the stream, or had it last.
    pub(super) holder: u64,
    /// Sequence numbers of the connections that wait to take the stream.
    waiters: Vec<u64>,
    /// Tokens that lead here: the one that the client was told last, and the one that it presented,
    /// as long as it may not know the other.
    pub(super) tokens: Vec<TokenDigest>,
    pub(super) stored: Stored,
    pub(super) sharing: Sharing,
    /// Session that has the stream, or had it last, as other gateways know it.
    pub(super) session_id: Option<String>,
    /// Whether another gateway has taken the stream.
    pub(super) is_elsewhere: bool,
    /// Room of the parked stream. A stream that is about to be taken may have none.
    pub(super) room: Option<Room>,
}

/// Whether the store has a record that ends with the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// There is none, or it stays for the next process.
    No,
    /// It is removed with the slot.
    Yes,
}

/// Whether the stream can go on at another gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// It can go on at this one alone.
    Own,
    /// It can.
    Shared,
}

/// State of a resumable stream.
pub(super) enum StreamState {
    /// A connection has the stream.
    Live,
    /// The stream is parked here, with its claims.
    Parked(Stream, SessionGuard),
    /// The stream was completed with this many bytes of audio.
    Complete(u64),
    /// The stream has ended without being completed.
    Gone,
}

impl Slot {
    /// Slot of a stream that the connection `holder` has.
    pub(super) fn new(owner: Owner, client: CountedClient, stream: Arc<str>, holder: u64) -> Self {
        Self {
            owner,
            client,
            stream,
            state: Mutex::new(SlotState {
                stream: StreamState::Live,
                holder,
                waiters: Vec::new(),
                tokens: Vec::new(),
                stored: Stored::No,
                sharing: Sharing::Own,
                session_id: None,
                is_elsewhere: false,
                room: None,
            }),
            changed: Notify::new(),
        }
    }

    /// Waits until `check` returns a value.
    pub(super) async fn until<T>(&self, mut check: impl FnMut(&mut SlotState) -> Option<T>) -> T {
        loop {
            // Registered before the check, so that no change is missed.
            let changed = self.changed.notified();
            if let Some(found) = check(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    /// Wakes all tasks that wait in [`Slot::until`].
    pub(super) fn has_changed(&self) {
        self.changed.notify_waiters();
    }

    // Every change is one assignment, so poisoning carries no news.
    pub(super) fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotState {
    /// Whether a later connection than the holder waits for the stream.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiters.iter().any(|sequence| *sequence > self.holder)
    }

    /// Notes that another gateway has taken the stream from this session. Returns whether it was the
    /// one that has it.
    pub(super) fn is_taken_elsewhere_from(&mut self, session_id: &str) -> bool {
        self.is_elsewhere |= self.session_id.as_deref() == Some(session_id);
        self.is_elsewhere
    }

    /// Whether the stream has ended here.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.stream, StreamState::Gone | StreamState::Complete(_))
    }

    /// Ends the slot, because the stream has another one with this sequence number. Returns the
    /// state before.
    pub(super) fn supersede(&mut self, sequence: u64) -> StreamState {
        self.holder = sequence;
        self.tokens.clear();
        self.stored = Stored::No;
        self.room = None;
        std::mem::replace(&mut self.stream, StreamState::Gone)
    }

    /// Hands the stream to the connection with this sequence number. Returns `None` if that
    /// connection has to wait.
    pub(super) fn give(&mut self, sequence: u64) -> Option<StreamState> {
        match self.stream {
            StreamState::Complete(bytes) => Some(StreamState::Complete(bytes)),
            StreamState::Gone => Some(StreamState::Gone),
            // A later connection has the stream.
            StreamState::Live | StreamState::Parked(..) if self.holder > sequence => {
                Some(StreamState::Gone)
            }
            StreamState::Live => None,
            StreamState::Parked(..) => {
                self.holder = sequence;
                self.room = None;
                Some(std::mem::replace(&mut self.stream, StreamState::Live))
            }
        }
    }
}

/// Connection that waits for a stream, until this is dropped.
pub(super) struct Waiter<'a> {
    slot: &'a Slot,
    sequence: u64,
}

impl<'a> Waiter<'a> {
    pub(super) fn begin(slot: &'a Slot, sequence: u64) -> Self {
        slot.lock().waiters.push(sequence);
        slot.has_changed();
        Self { slot, sequence }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.slot
            .lock()
            .waiters
            .retain(|sequence| *sequence != self.sequence);
        self.slot.has_changed();
    }
}
