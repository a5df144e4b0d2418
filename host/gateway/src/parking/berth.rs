//! The place of one stream, through all of its connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Client, Owner, Room, Stream};
use session::registry::SessionGuard;

/// See the module.
pub(super) struct Berth {
    pub(super) owner: Owner,
    /// Whom its room is counted for.
    pub(super) client: Client,
    /// The session that began the stream.
    pub(super) stream: Arc<str>,
    state: Mutex<State>,
    changed: Notify,
}

pub(super) struct State {
    pub(super) place: Place,
    /// The turn of the connection that has the stream, or had it last.
    pub(super) holder: u64,
    /// The turns of those that came back and wait for it.
    wanting: Vec<u64>,
    /// What leads here: the token that the client was told last, and the one
    /// with which it came, as long as it may not know the other.
    pub(super) tokens: Vec<String>,
    /// Its place among those that are parked. One that is about to be taken may
    /// have none.
    pub(super) room: Option<Room>,
}

/// Where a stream is.
pub(super) enum Place {
    /// With its connection.
    Live,
    /// Here, with its claims.
    Parked(Stream, SessionGuard),
    /// Nowhere: it was complete, with so many bytes.
    Complete(u64),
    Gone,
}

impl Berth {
    /// Of a stream that is with its connection.
    pub(super) fn new(owner: Owner, client: Client, stream: Arc<str>, holder: u64) -> Self {
        Self {
            owner,
            client,
            stream,
            state: Mutex::new(State {
                place: Place::Live,
                holder,
                wanting: Vec::new(),
                tokens: Vec::new(),
                room: None,
            }),
            changed: Notify::new(),
        }
    }

    /// Waits until `check` has found what it looks for.
    pub(super) async fn until<T>(&self, mut check: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            // From before the look, so that no change is missed.
            let changed = self.changed.notified();
            if let Some(found) = check(&mut self.lock()) {
                return found;
            }
            changed.await;
        }
    }

    /// Wakes whoever waits.
    pub(super) fn has_changed(&self) {
        self.changed.notify_waiters();
    }

    // Every change is one assignment, so poisoning carries no news.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether somebody waits who comes after the one that has the stream.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanting.iter().any(|turn| *turn > self.holder)
    }

    /// Gives the connection of this turn what is here; `None` where it has to
    /// wait.
    pub(super) fn give(&mut self, turn: u64) -> Option<Place> {
        match self.place {
            Place::Complete(bytes) => Some(Place::Complete(bytes)),
            Place::Gone => Some(Place::Gone),
            // A later connection has it.
            Place::Live | Place::Parked(..) if self.holder > turn => Some(Place::Gone),
            Place::Live => None,
            Place::Parked(..) => {
                self.holder = turn;
                self.room = None;
                Some(std::mem::replace(&mut self.place, Place::Live))
            }
        }
    }
}

/// Somebody who waits for a stream, until this is dropped.
pub(super) struct Wanting<'a> {
    berth: &'a Berth,
    turn: u64,
}

impl<'a> Wanting<'a> {
    pub(super) fn begin(berth: &'a Berth, turn: u64) -> Self {
        berth.lock().wanting.push(turn);
        berth.has_changed();
        Self { berth, turn }
    }
}

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.berth.lock().wanting.retain(|turn| *turn != self.turn);
        self.berth.has_changed();
    }
}
