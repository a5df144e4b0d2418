//! Connections before their upgrade, by client address.
//!
//! Such a connection holds a socket and a place, but its client may send nothing at all, a request
//! head that never ends, or half a TLS handshake. That does no harm while there are enough permits.
//! When sockets or places run short, each new connection evicts the oldest connection of an address
//! that has more than its fair share of them. The new connection gets that place at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::network;

/// Registry of connections before their upgrade. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Openings {
    queues: Arc<Mutex<Queues>>,
    /// Connections that one address may have when permits run short.
    share: usize,
}

#[derive(Debug, Default)]
struct Queues {
    /// Connections of each address, the oldest first. No queue is empty.
    by_address: HashMap<IpAddr, BTreeMap<u64, QueuedOpening>>,
    /// Addresses that have more than their share: only a few.
    greedy: BTreeSet<IpAddr>,
    /// Number of the next connection. Numbers grow.
    next: u64,
}

#[derive(Debug)]
struct QueuedOpening {
    notice: oneshot::Sender<()>,
    place: Option<OwnedSemaphorePermit>,
}

/// Connection before its upgrade, until this is dropped.
#[derive(Debug)]
pub struct Opening {
    openings: Openings,
    address: IpAddr,
    number: u64,
}

/// Notice to a connection that it has been pushed out.
#[derive(Debug)]
pub struct PushedOut(oneshot::Receiver<()>);

/// Result of passing the upgrade.
#[derive(Debug)]
pub enum Passage {
    /// The connection goes on with its place, and cannot be pushed out any more.
    Granted(Option<OwnedSemaphorePermit>),
    /// The connection has been pushed out.
    Lost,
}

impl Openings {
    pub(super) fn new(share: usize) -> Self {
        Self {
            queues: Arc::default(),
            share,
        }
    }

    pub(super) fn begin(
        &self,
        address: IpAddr,
        place: Option<OwnedSemaphorePermit>,
    ) -> (Opening, PushedOut) {
        let address = network(address);
        let (notice, noticed) = oneshot::channel();
        let mut queues = self.lock();
        let number = queues.next;
        queues.next += 1;
        let queue = queues.by_address.entry(address).or_default();
        queue.insert(number, QueuedOpening { notice, place });
        if queue.len() > self.share {
            queues.greedy.insert(address);
        }
        drop(queues);
        let opening = Opening {
            openings: self.clone(),
            address,
            number,
        };
        (opening, PushedOut(noticed))
    }

    /// Pushes out the oldest connection of the address that has the most, if that is more than its
    /// share. Prefers a connection with a place if one is `wanted`. Returns its place.
    pub(super) fn push_out(&self, wanted: bool) -> Option<Option<OwnedSemaphorePermit>> {
        let mut queues = self.lock();
        let Queues {
            by_address, greedy, ..
        } = &*queues;
        let length = |address: &IpAddr| by_address.get(address).map_or(0, BTreeMap::len);
        let address = greedy.iter().copied().max_by_key(length)?;
        let queue = by_address.get(&address)?;
        let mut oldest = queue
            .iter()
            .filter(|(_, entry)| !wanted || entry.place.is_some());
        let (number, _) = oldest.next().or_else(|| queue.iter().next())?;
        let number = *number;
        let QueuedOpening { notice, place } = queues.remove(address, number, self.share)?;
        drop(queues);
        // Fails if the connection has ended.
        let _ = notice.send(());
        Some(place)
    }

    /// Places of connections that can be pushed out.
    pub(super) fn yielding(&self) -> usize {
        let queues = self.lock();
        let greedy = queues.greedy.iter();
        let held = greedy.filter_map(|address| queues.by_address.get(address));
        held.flat_map(BTreeMap::values)
            .filter(|entry| entry.place.is_some())
            .count()
    }

    // A map keeps its invariants at every step, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn remove(&mut self, address: IpAddr, number: u64, share: usize) -> Option<QueuedOpening> {
        let queue = self.by_address.get_mut(&address)?;
        let removed = queue.remove(&number);
        if queue.len() <= share {
            self.greedy.remove(&address);
        }
        if queue.is_empty() {
            self.by_address.remove(&address);
        }
        removed
    }
}

impl Opening {
    /// Ends the wait for the upgrade: the connection has asked for it.
    #[must_use]
    pub fn pass(self) -> Passage {
        match self.leave() {
            Some(entry) => Passage::Granted(entry.place),
            None => Passage::Lost,
        }
    }

    /// Whether the connection has a place.
    #[must_use]
    pub fn has_place(&self) -> bool {
        let queues = self.openings.lock();
        let queue = queues.by_address.get(&self.address);
        let entry = queue.and_then(|queue| queue.get(&self.number));
        entry.is_some_and(|entry| entry.place.is_some())
    }

    fn leave(&self) -> Option<QueuedOpening> {
        let mut queues = self.openings.lock();
        queues.remove(self.address, self.number, self.openings.share)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

impl PushedOut {
    /// Waits until the connection is pushed out. Never returns if it has passed.
    pub async fn wait(self) {
        if self.0.await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    fn address(host: u8) -> IpAddr {
        [192, 0, 2, host].into()
    }

    fn push_out(openings: &Openings) -> bool {
        openings.push_out(false).is_some()
    }

    #[test]
    fn whoever_wants_a_place_gets_that_of_the_oldest_who_has_one() {
        let places = Arc::new(Semaphore::new(2));
        let place = || Arc::clone(&places).try_acquire_owned().ok();
        let openings = Openings::new(1);
        let held = [None, place(), place(), None].map(|it| openings.begin(address(1), it));
        let has: Vec<_> = held
            .iter()
            .map(|(opening, _)| opening.has_place())
            .collect();
        assert_eq!(has, [false, true, true, false]);
        let given = openings.push_out(true).expect("somebody has too many");
        assert!(given.is_some() && !held[1].0.has_place());
        // This address already has a place, and gives it back.
        let none = openings.push_out(false).expect("somebody has too many");
        assert!(none.is_none() && held[2].0.has_place());
        drop(given);
        assert_eq!(places.available_permits(), 1);
        drop(held);
        assert_eq!(places.available_permits(), 2);
    }

    #[test]
    fn the_oldest_connection_of_whoever_has_most_makes_room() {
        let openings = Openings::new(1);
        let (_modest, modest) = openings.begin(address(1), None);
        let mut greedy: Vec<_> = (0..3).map(|_| openings.begin(address(2), None)).collect();
        let mut more: Vec<_> = (0..2).map(|_| openings.begin(address(3), None)).collect();
        assert!(push_out(&openings));
        let (first, pushed_out) = greedy.remove(0);
        assert!(pushed_out.wait().now_or_never().is_some());
        assert!(matches!(first.pass(), Passage::Lost));
        // Both have two, and each of these loses one.
        assert!(push_out(&openings) && push_out(&openings));
        assert!(!push_out(&openings), "nobody has more than his share");
        let (_, second) = greedy.remove(0);
        let (_, third) = more.remove(0);
        assert!(second.wait().now_or_never().is_some());
        assert!(third.wait().now_or_never().is_some());
        assert!(modest.wait().now_or_never().is_none());
        for (opening, pushed_out) in greedy.into_iter().chain(more) {
            assert!(matches!(opening.pass(), Passage::Granted(None)));
            assert!(pushed_out.wait().now_or_never().is_none());
        }
    }

    #[test]
    fn whoever_has_passed_or_ended_is_not_pushed_out_and_nothing_is_remembered() {
        let openings = Openings::new(1);
        let passed: Vec<_> = (0..4).map(|_| openings.begin(address(1), None)).collect();
        for (opening, _) in passed {
            assert!(matches!(opening.pass(), Passage::Granted(None)));
        }
        drop(openings.begin(address(2), None));
        assert!(!push_out(&openings));
        let queues = openings.lock();
        assert!(queues.by_address.is_empty() && queues.greedy.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let openings = Openings::new(1);
        let of = |host: u16| openings.begin([0x2001, 0xdb8, 0, 0, 0, 0, 0, host].into(), None);
        let _held: Vec<_> = (0..3).map(of).collect();
        assert!(push_out(&openings) && push_out(&openings) && !push_out(&openings));
    }
}
