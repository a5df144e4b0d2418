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
//! connections. Connections before their upgrade ([`openings`]) and memory ([`memory`]) are bounded
//! in the same way.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics;
use shares::FAIR_PART;

mod memory;
mod openings;
mod shares;

pub use memory::{Charge, Memory, NoMemory};
pub use openings::{Opening, PushedOut};
pub use shares::{Holder, Share, Shares, Tally, fair_share, network};

use openings::{Openings, Passage};

/// File descriptors reserved for everything but connections: listeners, logs, the runtime, one
/// policy or key file.
const RESERVED: u64 = 64;
/// Minimum number of descriptors to plan for the upstream of one connection.
const LEAST_UPSTREAM: u64 = 1;
/// Divisor: all parked streams together may hold half of the upstreams' descriptors.
const PARKED_PART: usize = 2;

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
    holders: Tally<Holder>,
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
        // With so few places there are no shares.
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

    /// The same, with this many descriptors for upstreams.
    #[must_use]
    pub fn with_upstreams(mut self, descriptors: usize) -> Self {
        let descriptors = descriptors.min(Semaphore::MAX_PERMITS);
        self.upstreams = Arc::new(Semaphore::new(descriptors));
        self
    }

    /// The same, with this many bytes of memory for what connections make the gateway hold.
    #[must_use]
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.memory = Memory::new(bytes);
        self
    }

    /// The same, with these limits for one client.
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
    pub fn of_address(&self, address: IpAddr) -> Option<Share<Holder>> {
        // Places of connections that can be pushed out count as free.
        let free = self.places.available_permits() + self.openings.yielding();
        let fair = fair_share(self.total, free);
        let most = self.shares.per_address.unwrap_or(usize::MAX).min(fair);
        self.holders.take(Holder::Address(network(address)), most)
    }

    /// Share of a connection of this user or tenant; `None` if that has too many connections.
    #[must_use]
    pub fn of(&self, holder: Holder) -> Option<Share<Holder>> {
        let most = match &holder {
            Holder::Address(_) => self.shares.per_address,
            Holder::User(_) => self.shares.per_user,
            Holder::Tenant(_) => self.shares.per_tenant,
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

/// Raises the soft limit of file descriptors to the hard one.
///
/// # Errors
/// Where the limit cannot be read.
pub fn raise_descriptor_limit() -> std::io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// Number of connections, upstreams and parked streams that the file descriptors allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Connections that may be admitted at once. At least one.
    pub places: usize,
    /// Descriptors of their upstreams, together.
    pub upstreams: usize,
    /// Streams that may be parked at once.
    pub parked: usize,
    /// Parked streams of one client.
    pub parked_per_client: usize,
}

/// Configured limits, before they are adapted to the file descriptors.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// `max_connections`
    pub places: usize,
    /// `max_refusals`
    pub refusals: usize,
    /// `max_parked`
    pub parked: usize,
    /// `max_parked_per_client`
    pub parked_per_client: Option<usize>,
    /// Maximum number of descriptors of the upstream of one stream.
    pub per_upstream: u32,
    /// Idle connections to backends in the connection pools.
    pub warm: usize,
}

impl Room {
    /// Limits that this many descriptors allow.
    #[must_use]
    pub fn of(descriptors: u64, wanted: &Wanted) -> Self {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let left = descriptors
            .saturating_sub(RESERVED)
            .saturating_sub(number(wanted.refusals))
            .saturating_sub(number(wanted.warm));
        let per_upstream = u64::from(wanted.per_upstream).max(LEAST_UPSTREAM);
        let allowed = usize::try_from(left / (1 + per_upstream)).unwrap_or(usize::MAX);
        let places = wanted.places.min(allowed).max(1);
        // Descriptors that the places do not need are left to parked streams.
        let upstreams = usize::try_from(left).unwrap_or(usize::MAX);
        let upstreams = upstreams.saturating_sub(places).max(1);
        let each = usize::try_from(per_upstream).unwrap_or(usize::MAX);
        let parked = wanted.parked.min(upstreams / PARKED_PART / each);
        let fair = (parked / FAIR_PART).max(1);
        Self {
            places,
            upstreams,
            parked,
            parked_per_client: match wanted.parked {
                // All wanted streams can be parked.
                all if all == parked => wanted.parked_per_client.unwrap_or(usize::MAX),
                _ => wanted.parked_per_client.unwrap_or(usize::MAX).min(fair),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    async fn next(permits: &Permits) -> ConnectionPermit {
        permits.grant(permits.socket().await)
    }

    #[tokio::test]
    async fn beyond_the_places_come_refusals_and_beyond_those_nothing() {
        let permits = Permits::new(1, 1);
        let first = next(&permits).await;
        let second = next(&permits).await;
        assert!(first.place.is_some() && second.place.is_none());
        assert!(permits.socket().now_or_never().is_none());
        drop(second);
        assert!(next(&permits).await.place.is_none());
    }

    #[tokio::test]
    async fn a_place_is_free_again_before_its_socket_is() {
        let permits = Permits::new(1, 1);
        let ConnectionPermit {
            socket: _lingering,
            place,
            ..
        } = next(&permits).await;
        drop(place);
        let next = next(&permits).await;
        assert!(next.place.is_some() && permits.is_full());
    }

    #[tokio::test]
    async fn a_place_that_becomes_free_while_nobody_comes_is_for_whoever_comes_next() {
        let permits = Permits::new(1, 1);
        let first = next(&permits).await;
        let waiting = permits.socket().await;
        drop(first);
        assert!(permits.grant(waiting).place.is_some());
    }

    const WANTED: Wanted = Wanted {
        places: 10_000,
        refusals: 256,
        parked: 1000,
        parked_per_client: Some(100),
        per_upstream: 1,
        warm: 0,
    };

    #[test]
    fn the_descriptors_bound_the_places() {
        let places = |descriptors, wanted| Room::of(descriptors, &wanted).places;
        assert_eq!(places(1024, WANTED), 352);
        let few = Wanted {
            places: 100,
            ..WANTED
        };
        assert_eq!(places(1024, few), 100);
        assert_eq!(places(10, few), 1);
        // A recording, a backend and a file for what it misses.
        let three = Wanted {
            per_upstream: 3,
            warm: 4,
            ..WANTED
        };
        assert_eq!(places(1024, three), 175);
    }

    #[test]
    fn connections_refusals_and_upstreams_never_need_more_than_there_is() {
        for descriptors in 400..2000_u64 {
            for per_upstream in 0..4 {
                for places in [1, 50, 10_000] {
                    let wanted = Wanted {
                        places,
                        per_upstream,
                        warm: 6,
                        ..WANTED
                    };
                    let room = Room::of(descriptors, &wanted);
                    let used = room.places + wanted.refusals + room.upstreams + wanted.warm;
                    assert!(used as u64 + RESERVED <= descriptors, "{room:?}");
                    let parked = room.parked * per_upstream as usize;
                    assert!(parked * 2 <= room.upstreams, "{room:?}");
                    assert!(room.parked_per_client <= room.parked.max(1), "{room:?}");
                }
            }
        }
    }

    #[test]
    fn parked_streams_of_one_client_are_few_where_descriptors_are() {
        let room = Room::of(512, &WANTED);
        assert_eq!((room.places, room.upstreams), (96, 96));
        assert_eq!((room.parked, room.parked_per_client), (48, 6));
        let room = Room::of(1 << 20, &WANTED);
        assert_eq!((room.parked, room.parked_per_client), (1000, 100));
    }

    #[tokio::test]
    async fn the_last_places_are_for_clients_that_have_few() {
        let permits = Permits::new(16, 4);
        let (greedy, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let mut held = Vec::new();
        let refused = loop {
            let permit = next(&permits).await;
            assert!(permit.place.is_some());
            let Some(share) = permits.of_address(greedy) else {
                break permit;
            };
            held.push((permit, share));
        };
        // Of sixteen, the last one is left, and the one before is refused.
        assert_eq!(held.len(), 14);
        drop(refused);
        let granted = [next(&permits).await, next(&permits).await];
        let shares = granted.each_ref().map(|_| permits.of_address(other));
        assert!(shares.iter().all(Option::is_some));
        assert!(permits.of_address(other).is_none());
    }

    #[tokio::test]
    async fn openings_of_one_address_make_room_only_when_places_are_scarce() {
        let permits = Permits::new(16, 4);
        let (greedy, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let open = async |address| {
            let mut permit = next(&permits).await;
            let pushed_out = permits.open(&mut permit, Some(address)).expect("counted");
            (permit, Box::pin(pushed_out.wait()))
        };
        let mut held = Vec::new();
        for _ in 0..14 {
            held.push(open(greedy).await);
        }
        let mut is_out = |at: usize| (&mut held[at].1).now_or_never().is_some();
        assert!((0..14).all(|at| !is_out(at)), "there is enough");
        let (mut permit, mut newcomer) = open(other).await;
        assert!(is_out(0) && !is_out(1), "the oldest makes room");
        assert!(permit.has_place() && permit.pass() && permit.place.is_some());
        assert!((&mut newcomer).now_or_never().is_none());
        // One that nobody is charged for is let in as well.
        let mut permit = next(&permits).await;
        assert!(permits.open(&mut permit, None).is_none() && is_out(1));
        assert!(permit.pass() && permit.place.is_some());
    }

    #[tokio::test]
    async fn an_upstream_has_all_of_its_descriptors_or_none() {
        let permits = Permits::new(4, 0).with_upstreams(4);
        let first = permits.upstream(3);
        assert!(first.is_some() && permits.upstream(2).is_none());
        assert!(permits.upstream(1).is_some() && permits.upstream(0).is_some());
        drop(first);
        assert!(permits.upstream(4).is_some());
    }
}
