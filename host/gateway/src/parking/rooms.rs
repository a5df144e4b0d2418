//! Limits on the number of parked streams: in total, and for one client.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use base::permits::{Share, Tally};

/// Client that a parked stream is counted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CountedClient {
    /// User, by all attributes that identify it.
    User(Vec<(String, String)>),
    /// Address, if the user is unknown.
    Address(IpAddr),
}

/// Counter of the rooms that are free.
#[derive(Debug)]
pub(super) struct Rooms {
    all: Arc<Semaphore>,
    clients: Tally<CountedClient>,
    per_client: usize,
}

/// Room for one stream, until this is dropped.
#[derive(Debug)]
pub(super) struct Room {
    _permits: Option<(OwnedSemaphorePermit, Share<CountedClient>)>,
}

impl Room {
    /// Room of a stream that an earlier process had: it had the place of a connection there, which
    /// nobody has taken here.
    pub(super) const fn of_restored() -> Self {
        Self { _permits: None }
    }
}

impl Rooms {
    pub(super) fn new(rooms: usize, per_client: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(rooms.min(Semaphore::MAX_PERMITS))),
            clients: Tally::default(),
            per_client,
        }
    }

    /// Room for a stream of this client; `None` if all rooms or the client's share are in use.
    pub(super) fn take(&self, client: &CountedClient) -> Option<Room> {
        let share = self.clients.take(client.clone(), self.per_client)?;
        let one = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Room {
            _permits: Some((one, share)),
        })
    }
}
