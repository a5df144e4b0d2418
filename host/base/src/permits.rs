//! Permits for connections, upstream descriptors and memory.
//!
//! Each connection needs two permits. The *socket* permit counts a file descriptor, from before the
//! connection is accepted until it is closed. The *place* permit allows the connection to be
//! admitted. The gateway releases it before it writes the Close, so that a client that reconnects
//! at once finds it free. A connection that has a socket but no place is refused: the gateway tells
//! it that it is overloaded. Without a free socket permit the gateway accepts nothing, and
//! connections wait in the kernel's queue. So load cannot exhaust the process's descriptors.
//!
//! Descriptors of upstreams are counted separately, because they outlive the connection of a stream
//! that is parked or slow to be sealed. There are as many as all places together may need. A stream
//! that finds too few is refused.
//!
//! When nearly all places are in use, the last ones are reserved for clients that have few
//! connections. Connections before their upgrade (`openings`) and memory (`memory`) are bounded
//! in the same way.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics;
use shares::FAIR_PART;

mod descriptors;
mod memory;
mod openings;
mod shares;

pub use descriptors::{Capacity, ConfiguredCapacity, raise_descriptor_limit};
pub use memory::{Charge, Memory, NoMemory};
pub use openings::{Opening, PushedOut};
pub use shares::{Share, ShareHolder, Shares, Tally, fair_share, network};

use openings::{Openings, Passage};

/// Permits that all connections share: sockets, places, upstream descriptors and memory. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Permits {
    sockets: Arc<Semaphore>,
    places: Arc<Semaphore>,
    total: usize,
    /// Free sockets and free places below which connections before their upgrade are pushed out.
    scarce: (usize, usize),
    openings: Openings,
    upstreams: Arc<Semaphore>,
    shares: Shares,
    holders: Tally<ShareHolder>,
    /// Accounting of the memory that connections make the gateway hold.
    pub memory: Memory,
}

/// Permits of one connection: a socket, and a place if one was free.
#[derive(Debug)]
pub struct ConnectionPermit {
    /// Held until the socket is closed.
    pub socket: OwnedSemaphorePermit,
    /// Held until the Close is written. `None` if the connection is to be refused, and while
    /// `opening` holds it.
    pub place: Option<OwnedSemaphorePermit>,
    /// Counts the connection until it asks for its upgrade. `None` if it cannot be pushed out.
    pub opening: Option<Opening>,
}

impl ConnectionPermit {
    /// Whether the connection has a place, here or in `opening`.
    #[must_use]
    pub fn has_place(&self) -> bool {
        self.place.is_some() || self.opening.as_ref().is_some_and(Opening::has_place)
    }

    /// Records that the connection has asked for its upgrade. From here on it gets an answer.
    /// Returns false if the connection was pushed out before.
    #[must_use]
    pub fn pass(&mut self) -> bool {
        match self.opening.take().map(Opening::pass) {
            None => true,
            Some(Passage::Granted(place)) => {
                self.place = place;
                true
            }
            Some(Passage::Lost) => false,
        }
    }
}

impl Permits {
    /// Permits for `places` connections, and for `refusals` more that are refused.
    #[must_use]
    pub fn new(places: usize, refusals: usize) -> Self {
        let sockets = places.saturating_add(refusals).min(Semaphore::MAX_PERMITS);
        let places = places.min(sockets);
        // With so few places there is no fair share.
        let share = match places / FAIR_PART {
            0 | 1 => usize::MAX,
            part => part,
        };
        Self {
            sockets: Arc::new(Semaphore::new(sockets)),
            places: Arc::new(Semaphore::new(places)),
            total: places,
            scarce: (sockets / FAIR_PART, places / FAIR_PART),
            openings: Openings::new(share),
            upstreams: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            shares: Shares::default(),
            holders: Tally::default(),
            memory: Memory::default(),
        }
    }

    /// Number of connections that can be admitted at once.
    #[must_use]
    pub fn places(&self) -> usize {
        self.total
    }

    /// Sets the number of descriptors for upstreams.
    #[must_use]
    pub fn with_upstreams(mut self, descriptors: usize) -> Self {
        let descriptors = descriptors.min(Semaphore::MAX_PERMITS);
        self.upstreams = Arc::new(Semaphore::new(descriptors));
        self
    }

    /// Sets the memory, in bytes, that connections may make the gateway hold.
    #[must_use]
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.memory = Memory::new(bytes);
        self
    }

    /// Sets the limits for one client.
    #[must_use]
    pub fn with_shares(mut self, shares: Shares) -> Self {
        self.shares = shares;
        self
    }

    /// Descriptors for the upstream of one stream; `None` if there are too few.
    #[must_use]
    pub fn upstream(&self, descriptors: u32) -> Option<OwnedSemaphorePermit> {
        let upstreams = Arc::clone(&self.upstreams);
        upstreams.try_acquire_many_owned(descriptors).ok()
    }

    /// Share of a connection with a place; `None` if its address has too many connections.
    #[must_use]
    pub fn of_address(&self, address: IpAddr) -> Option<Share<ShareHolder>> {
        // Places of connections that can be pushed out count as free.
        let free = self.places.available_permits() + self.openings.yielding();
        let fair = fair_share(self.total, free);
        let most = self.shares.per_address.unwrap_or(usize::MAX).min(fair);
        self.holders
            .take(ShareHolder::Address(network(address)), most)
    }

    /// Share of a connection of this user or tenant; `None` if that has too many connections.
    #[must_use]
    pub fn of(&self, holder: ShareHolder) -> Option<Share<ShareHolder>> {
        let most = match &holder {
            ShareHolder::Address(_) => self.shares.per_address,
            ShareHolder::User(_) => self.shares.per_user,
            ShareHolder::Tenant(_) => self.shares.per_tenant,
        };
        self.holders.take(holder, most.unwrap_or(usize::MAX))
    }

    /// Waits until a connection may be accepted.
    pub async fn socket(&self) -> OwnedSemaphorePermit {
        loop {
            // The semaphore is never closed.
            if let Ok(socket) = Arc::clone(&self.sockets).acquire_owned().await {
                return socket;
            }
        }
    }

    /// Permit for a connection that was accepted, with a place if one is free. The place is taken
    /// only now, so that one that becomes free in the meantime goes to this connection.
    #[must_use]
    pub fn grant(&self, socket: OwnedSemaphorePermit) -> ConnectionPermit {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        ConnectionPermit {
            socket,
            place,
            opening: None,
        }
    }

    /// Counts an accepted connection for its address, until it asks for its upgrade. If sockets or
    /// places are scarce, this may push out another connection. The address is `None` if many
    /// clients share it.
    ///
    /// Returns a notice that tells when the connection itself is pushed out.
    pub fn open(
        &self,
        permit: &mut ConnectionPermit,
        address: Option<IpAddr>,
    ) -> Option<PushedOut> {
        let (sockets, places) = self.scarce;
        let is_scarce =
            self.sockets.available_permits() < sockets || self.places.available_permits() < places;
        let lacks_place = permit.place.is_none();
        let made = is_scarce.then(|| self.openings.push_out(lacks_place));
        if let Some(place) = made.flatten() {
            metrics::pushed_out();
            if lacks_place {
                permit.place = place;
            }
        }
        let (opening, pushed_out) = self.openings.begin(address?, permit.place.take());
        permit.opening = Some(opening);
        Some(pushed_out)
    }

    /// Whether the next connection would have to wait.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sockets.available_permits() == 0
    }
}

#[cfg(test)]
mod tests;
