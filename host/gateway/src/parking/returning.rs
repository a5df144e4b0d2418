//! Return of a client to its stream.

use std::sync::Arc;

use super::Parking;
use super::attachment::Attachment;
use super::owner::Owner;
use super::slot::{Slot, StreamState, Waiter};
use super::stream::Stream;
use super::token::{Token, TokenDigest};

/// Connection that has presented a resume token, before its owner was checked.
pub struct Returning {
    pub(super) parking: Arc<Parking>,
    pub(super) slot: Arc<Slot>,
    pub(super) sequence: u64,
    pub(super) token: String,
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
            token: Token::random(),
            durable: None,
        };
        let tokens = std::mem::take(&mut self.slot.lock().tokens);
        let presented = TokenDigest::of(&self.token);
        let unused = tokens.into_iter().filter(|old| *old != presented);
        let unused: Vec<_> = unused.collect();
        attachment.add_token(presented);
        attachment.add_token(attachment.token.digest());
        self.parking.forget(&unused);
        self.parking.forget_shared(&unused);
        // The claims now belong to the new session.
        drop(guard);
        Some(Taken::Stream(stream, attachment))
    }
}
