//! Parked streams: streams whose clients have lost their connection and may resume.
//!
//! A stream that may be resumed has a [`Slot`], which outlives its connections. Only the stream's
//! client knows the resume token that leads to the slot. The connection that has the stream holds
//! an [`Attachment`] to the slot. If the connection is lost, the stream is *parked* in the slot:
//! its upstream stays open and its claims stay held, for the route's grace period. A connection
//! that presents the token, and that all policies admit as the same client for the same stream,
//! takes the stream. It continues where the upstream's bytes end.
//!
//! With each resumption the client gets a new token. The one that it presented stays valid until
//! the client has shown that it knows the new one, because an ack that was lost on its way must not
//! lock the client out. If several connections want to resume one stream, the latest one gets it: a
//! client gives up one connection before it tries the next.
//!
//! The number of parked streams is bounded, and so is what one of them holds: see [`Stream`]. If a
//! client completed its stream but may not have been told so, only the stream's size is remembered,
//! for the grace period.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::time::sleep;

use base::credentials::RESUME_PREFIX;
use base::shutdown::Shutdown;
use session::registry::{Session, SessionGuard};

mod owner;
pub mod pace;
mod parked_stream;
mod rooms;
mod slot;
mod stream;
#[cfg(test)]
mod tests;

pub use owner::Owner;
pub use parked_stream::{ParkLimits, ParkedStream};
use rooms::{Client, Room, Rooms};
use slot::{Slot, StreamState, Waiter};
pub use stream::{Said, Stream};

/// Random bytes of a resume token: too many to guess.
const TOKEN: usize = 32;

/// Registry of all slots of a gateway, by resume token.
pub struct Parking {
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    parked: Rooms,
    remembered: Rooms,
    next_sequence: AtomicU64,
}

impl Parking {
    /// Registry that parks at most `streams` streams, and `per_client` of one client. As many may
    /// be remembered as complete.
    #[must_use]
    pub fn new(streams: usize, per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: Mutex::default(),
            parked: Rooms::new(streams, per_client),
            remembered: Rooms::new(streams, per_client),
            next_sequence: AtomicU64::default(),
        })
    }

    /// Creates a slot for a stream, with a resume token, and attaches the connection to it.
    #[must_use]
    pub(crate) fn attach(self: &Arc<Self>, session: &Session, owner: Owner) -> Attachment {
        let sequence = self.sequence();
        let stream = Arc::clone(&session.facts.session_id);
        let client = owner.client(session.facts.remote.ip());
        let attachment = Attachment {
            parking: Arc::clone(self),
            slot: Arc::new(Slot::new(owner, client, stream, sequence)),
            sequence,
            token: token(),
        };
        attachment.add_token(&attachment.token);
        attachment
    }

    /// Connection that presents this token; `None` if the token leads to no slot.
    #[must_use]
    pub fn find(self: &Arc<Self>, token: &str) -> Option<Returning> {
        let slot = self.lock().get(token).cloned()?;
        Some(Returning {
            parking: Arc::clone(self),
            slot,
            sequence: self.sequence(),
            token: token.to_owned(),
        })
    }

    /// Sequence number of a connection. Later connections have larger numbers.
    fn sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, Ordering::Relaxed)
    }

    fn forget(&self, tokens: &[String]) {
        let mut slots = self.lock();
        for token in tokens {
            slots.remove(token);
        }
    }

    // A map keeps its invariants at every step, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// New resume token, with a prefix by which logs recognize and hide it.
fn token() -> String {
    let random = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN]>());
    RESUME_PREFIX.to_owned() + &random
}

/// Connection that has presented a resume token, before its owner was checked.
pub struct Returning {
    parking: Arc<Parking>,
    slot: Arc<Slot>,
    sequence: u64,
    token: String,
}

/// Result of resuming a stream.
pub enum Taken {
    /// The stream goes on.
    Stream(Stream, Attachment),
    /// The stream was complete, with this many bytes of audio.
    Complete(u64),
}

impl Returning {
    /// ID of the session that began the stream.
    #[must_use]
    pub fn stream(&self) -> &Arc<str> {
        &self.slot.stream
    }

    /// Token that the client presented.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Waits until the stream's current connection has released it, then takes it. A half-open
    /// connection must not lock out its own client.
    ///
    /// Returns `None` if the stream belongs to another client, is gone, or was taken by a later
    /// connection.
    pub async fn take(&self, by: &Owner) -> Option<Taken> {
        if *by != self.slot.owner {
            return None;
        }
        let _waiter = Waiter::begin(&self.slot, self.sequence);
        // Nothing below awaits, so a stream that was taken cannot be lost to cancellation.
        let (stream, guard) = match self.slot.until(|slot| slot.give(self.sequence)).await {
            StreamState::Parked(stream, guard) => (stream, guard),
            StreamState::Complete(bytes) => return Some(Taken::Complete(bytes)),
            StreamState::Live | StreamState::Gone => return None,
        };
        let attachment = Attachment {
            parking: Arc::clone(&self.parking),
            slot: Arc::clone(&self.slot),
            sequence: self.sequence,
            token: token(),
        };
        let tokens = std::mem::take(&mut self.slot.lock().tokens);
        attachment.add_token(&self.token);
        attachment.add_token(&attachment.token);
        let unused: Vec<_> = tokens
            .into_iter()
            .filter(|old| *old != self.token)
            .collect();
        self.parking.forget(&unused);
        // The claims now belong to the new session.
        drop(guard);
        Some(Taken::Stream(stream, attachment))
    }
}

/// Attachment of a connection to its stream's slot.
///
/// Dropping it removes the slot with its tokens, unless another connection has taken the stream.
pub struct Attachment {
    parking: Arc<Parking>,
    slot: Arc<Slot>,
    sequence: u64,
    token: String,
}

impl Attachment {
    /// Resume token of the stream. Only its client may see it.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Waits until a later connection wants the stream.
    pub async fn wanted(&self) {
        let wanted = |slot: &mut slot::SlotState| slot.is_wanted().then_some(());
        self.slot.until(wanted).await;
    }

    /// Invalidates the token that the client presented, since it has shown that it knows the new
    /// one.
    pub(crate) fn token_is_known(&self) {
        let mut slot = self.slot.lock();
        if slot.holder != self.sequence {
            return;
        }
        let unused = |token: &mut String| *token != self.token;
        let unused: Vec<_> = slot.tokens.extract_if(.., unused).collect();
        drop(slot);
        self.parking.forget(&unused);
    }

    /// Parks the stream. It needs no room if another connection is waiting to take it.
    ///
    /// # Errors
    /// If there is no room. Returns the stream and its guard.
    #[allow(
        clippy::result_large_err,
        reason = "what has no room goes back whole, once in a connection's life"
    )]
    pub fn park(
        self,
        stream: Stream,
        guard: SessionGuard,
    ) -> Result<ParkedStream, (Stream, SessionGuard)> {
        let room = self.parking.parked.take(&self.slot.client);
        let session = Arc::clone(guard.session());
        let mut slot = self.slot.lock();
        if room.is_none() && !slot.is_wanted() {
            return Err((stream, guard));
        }
        slot.stream = StreamState::Parked(stream, guard);
        slot.room = room;
        drop(slot);
        self.slot.has_changed();
        Ok(ParkedStream::new(self, session))
    }

    /// Remembers that the stream is complete. Returns `None` if there is no room.
    #[must_use]
    pub fn complete(self, bytes: u64) -> Option<Remembered> {
        let room = self.parking.remembered.take(&self.slot.client)?;
        self.slot.lock().stream = StreamState::Complete(bytes);
        self.slot.has_changed();
        Some(Remembered {
            _attachment: self,
            _room: room,
        })
    }

    /// Makes this token lead to the slot.
    fn add_token(&self, token: &str) {
        self.slot.lock().tokens.push(token.to_owned());
        let slot = Arc::clone(&self.slot);
        self.parking.lock().insert(token.to_owned(), slot);
    }

    /// Detaches from the slot, and returns the stream that is parked in it. Does nothing if another
    /// connection has taken the stream.
    fn detach(&self) -> Option<(Stream, SessionGuard)> {
        let mut slot = self.slot.lock();
        if slot.holder != self.sequence {
            return None;
        }
        let before = std::mem::replace(&mut slot.stream, StreamState::Gone);
        let tokens = std::mem::take(&mut slot.tokens);
        slot.room = None;
        drop(slot);
        self.parking.forget(&tokens);
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
    _attachment: Attachment,
    _room: Room,
}

impl Remembered {
    /// Keeps the slot for the grace period, so that the client can ask.
    pub async fn stay(self, grace: Duration, shutdown: Shutdown) {
        tokio::select! {
            biased;
            () = shutdown.draining() => {}
            () = sleep(grace) => {}
        }
    }
}
