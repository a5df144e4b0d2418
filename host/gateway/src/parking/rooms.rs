//! Rooms for streams without a client: so many in all, and of one client.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use base::permits::{Share, Tally};

/// Whose stream it is, where that is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// A user, by all that is known of him.
    User(Vec<(String, String)>),
    /// An address, where nothing is.
    Address(IpAddr),
}

/// Rooms that are left.
#[derive(Debug)]
pub(super) struct Rooms {
    all: Arc<Semaphore>,
    clients: Tally<Client>,
    per_client: usize,
}

/// A room, until this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _one: OwnedSemaphorePermit,
    _share: Share<Client>,
}

impl Rooms {
    pub(super) fn new(rooms: usize, per_client: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(rooms.min(Semaphore::MAX_PERMITS))),
            clients: Tally::default(),
            per_client,
        }
    }

    /// A room for a client that has not had its share; `None` where there is none.
    pub(super) fn take(&self, client: &Client) -> Option<Room> {
        let share = self.clients.take(client.clone(), self.per_client)?;
        let one = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Room {
            _one: one,
            _share: share,
        })
    }
}
