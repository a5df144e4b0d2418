//! How many connections the gateway takes at once, and what happens beyond.
//!
//! A connection first has a *socket*: a descriptor, counted from before it is
//! accepted until it is closed. If there is one, it also has a *place*, which
//! lets it be admitted and ends before its Close is written, so that a client
//! which comes back at once finds it free. A socket without a place is in the
//! lane of refusals: it is told that the gateway is overloaded. Beyond that
//! nothing is accepted, and connections wait in the kernel's queue: the process
//! never dies of load.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Descriptors that the process needs for other things than connections:
/// listeners, logs, runtime, one policy or key file.
const RESERVED: u64 = 64;
/// A connection that records or relays has its own socket and one more
/// descriptor for its upstream.
const PER_CONNECTION: u64 = 2;

/// See the module.
#[derive(Debug, Clone)]
pub struct Lanes {
    sockets: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// A socket that may be accepted, and its place if it has one.
#[derive(Debug)]
pub struct Seat {
    /// Held until the socket is closed.
    pub socket: OwnedSemaphorePermit,
    /// Held until the Close is written; `None` in the lane of refusals.
    pub place: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    /// Room for `places` connections and for `refusals` more that are told so.
    #[must_use]
    pub fn new(places: usize, refusals: usize) -> Self {
        let sockets = places.saturating_add(refusals).min(Semaphore::MAX_PERMITS);
        Self {
            sockets: Arc::new(Semaphore::new(sockets)),
            places: Arc::new(Semaphore::new(places.min(sockets))),
        }
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

    /// Seats a connection that is there. Not before it is: a place that
    /// becomes free while nobody comes is for whoever comes next.
    #[must_use]
    pub fn seat(&self, socket: OwnedSemaphorePermit) -> Seat {
        let place = Arc::clone(&self.places).try_acquire_owned().ok();
        Seat { socket, place }
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

/// The places that `descriptors` allow, beside `refusals`, where at most
/// `wanted` are wanted. At least one.
#[must_use]
pub fn places(wanted: usize, refusals: usize, descriptors: u64) -> usize {
    let refusals = u64::try_from(refusals).unwrap_or(u64::MAX);
    let left = descriptors
        .saturating_sub(RESERVED)
        .saturating_sub(refusals);
    let allowed = usize::try_from(left / PER_CONNECTION).unwrap_or(usize::MAX);
    wanted.min(allowed).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    async fn next(lanes: &Lanes) -> Seat {
        lanes.seat(lanes.socket().await)
    }

    #[tokio::test]
    async fn beyond_the_places_come_refusals_and_beyond_those_nothing() {
        let lanes = Lanes::new(1, 1);
        let first = next(&lanes).await;
        let second = next(&lanes).await;
        assert!(first.place.is_some() && second.place.is_none());
        assert!(lanes.socket().now_or_never().is_none());
        drop(second);
        assert!(next(&lanes).await.place.is_none());
    }

    #[tokio::test]
    async fn a_place_is_free_again_before_its_socket_is() {
        let lanes = Lanes::new(1, 1);
        let Seat {
            socket: _lingering,
            place,
        } = next(&lanes).await;
        drop(place);
        let next = next(&lanes).await;
        assert!(next.place.is_some() && lanes.is_full());
    }

    #[tokio::test]
    async fn a_place_that_becomes_free_while_nobody_comes_is_for_whoever_comes_next() {
        let lanes = Lanes::new(1, 1);
        let first = next(&lanes).await;
        let waiting = lanes.socket().await;
        drop(first);
        assert!(lanes.seat(waiting).place.is_some());
    }

    #[test]
    fn the_descriptors_bound_the_places() {
        assert_eq!(places(10_000, 256, 1024), 352);
        assert_eq!(places(100, 256, 1024), 100);
        assert_eq!(places(100, 256, 10), 1);
    }
}
