//! The latest refusals, for operators who are asked why somebody was refused.
//!
//! The gateway keeps them in memory, within a bound on their number and on their bytes. One network
//! fills no more than a part of it, so that a client which is refused all the time does not push
//! out what happened to the others.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::permits::network;
use policy::Record;
use session::facts::Claimed;

/// Maximum number of refusals that are kept.
const MAX: usize = 1024;
/// Maximum number of bytes of their texts.
const MAX_BYTES: usize = 1024 * 1024;
/// Maximum number of refusals of one network.
const MAX_OF_ONE: usize = MAX / 8;

/// A connection that ended with an error frame.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Time of the end, in milliseconds since 1970.
    pub at_ms: u64,
    /// Session id.
    pub session: Arc<str>,
    /// The client's address.
    pub client: SocketAddr,
    /// User that a policy had verified.
    pub user: Option<String>,
    /// Tenant that a policy had verified.
    pub tenant: Option<String>,
    /// Identity that the token claims, if no user was verified.
    pub claimed: Option<Claimed>,
    /// The meeting in the path.
    pub meeting: Option<String>,
    /// The source in the query.
    pub source: Option<String>,
    /// Name of the route; empty if none matched.
    pub route: Arc<str>,
    /// Number of the generation.
    pub generation: u64,
    /// Stage in which the cause arose.
    pub stage: &'static str,
    /// Name of the cause in the log.
    pub cause: &'static str,
    /// The close code that was sent.
    pub close_code: u16,
    /// Code of the error frame.
    pub code: String,
    /// Sentence that the client was told.
    pub message: String,
    /// Whether the client was told that it may try again.
    pub retryable: bool,
    /// Detail for the operator.
    pub detail: String,
    /// What became of the Close.
    pub delivery: &'static str,
    /// Decisions of policies about the connection.
    pub decisions: Vec<Record>,
}

/// The latest refusals.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    latest: VecDeque<Arc<Refusal>>,
    /// Number of refusals that were ever added.
    added: u64,
    bytes: usize,
    /// Number of refusals of each network, so that a storm of them does not count them each time.
    networks: HashMap<IpAddr, usize>,
}

impl Refusals {
    /// Adds one, and forgets older ones if there are too many.
    pub(crate) fn add(&self, refusal: Refusal) {
        let mut ring = self.lock();
        ring.bytes += refusal.weight();
        let from = network(refusal.client.ip());
        *ring.networks.entry(from).or_default() += 1;
        ring.latest.push_back(Arc::new(refusal));
        ring.added += 1;
        ring.make_room(from);
    }

    /// Number of refusals that were ever added, and those of them after the first `seen` that are
    /// kept, the latest first. After a storm of refusals there may be some that were seen before.
    #[must_use]
    pub fn since(&self, seen: u64) -> (u64, Vec<Arc<Refusal>>) {
        let ring = self.lock();
        let unseen = usize::try_from(ring.added.saturating_sub(seen)).unwrap_or(usize::MAX);
        let unseen = ring.latest.iter().rev().take(unseen);
        (ring.added, unseen.cloned().collect())
    }

    /// All that are kept, the latest first.
    #[must_use]
    pub fn latest(&self) -> Vec<Arc<Refusal>> {
        self.lock().latest.iter().rev().cloned().collect()
    }

    // Each change leaves the ring usable, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn make_room(&mut self, from: IpAddr) {
        if self
            .networks
            .get(&from)
            .is_some_and(|count| *count > MAX_OF_ONE)
        {
            let mut all = self.latest.iter();
            let oldest = all.position(|refusal| network(refusal.client.ip()) == from);
            self.forget(oldest.unwrap_or_default());
        }
        while self.latest.len() > MAX || self.bytes > MAX_BYTES {
            self.forget(0);
        }
    }

    fn forget(&mut self, index: usize) {
        let Some(refusal) = self.latest.remove(index) else {
            return;
        };
        self.bytes -= refusal.weight();
        if let Entry::Occupied(mut count) = self.networks.entry(network(refusal.client.ip())) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl Refusal {
    /// Bytes of memory, about.
    fn weight(&self) -> usize {
        let claimed = self.claimed.as_ref();
        let texts = [
            self.user.as_ref(),
            self.tenant.as_ref(),
            claimed.and_then(|claimed| claimed.user.as_ref()),
            claimed.and_then(|claimed| claimed.tenant.as_ref()),
            self.meeting.as_ref(),
            self.source.as_ref(),
            Some(&self.code),
            Some(&self.message),
            Some(&self.detail),
        ];
        let texts = texts.into_iter().flatten().map(String::len);
        size_of::<Self>() + texts.sum::<usize>() + size_of_val(&*self.decisions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(client: &str, detail: &str) -> Refusal {
        Refusal {
            at_ms: 0,
            session: "s".into(),
            client: client.parse().unwrap(),
            user: None,
            tenant: None,
            claimed: None,
            meeting: None,
            source: None,
            route: "r".into(),
            generation: 1,
            stage: "connect",
            cause: "denied",
            close_code: 4001,
            code: "auth_failed".to_owned(),
            message: "no".to_owned(),
            retryable: false,
            detail: detail.to_owned(),
            delivery: "confirmed",
            decisions: Vec::new(),
        }
    }

    #[test]
    fn the_latest_come_first_and_a_network_that_is_refused_all_the_time_pushes_out_its_own() {
        let refusals = Refusals::default();
        refusals.add(refusal("192.0.2.1:1", "the user that is looked for"));
        for n in 0..10 * MAX {
            let port = n % 60_000 + 1;
            refusals.add(refusal(&format!("198.51.100.7:{port}"), ""));
        }
        let kept = refusals.latest();
        assert_eq!(kept.len(), MAX_OF_ONE + 1);
        assert_eq!(kept.last().unwrap().detail, "the user that is looked for");
        refusals.add(refusal("203.0.113.1:1", "the latest"));
        assert_eq!(refusals.latest()[0].detail, "the latest");
    }

    #[test]
    fn whoever_asks_again_gets_what_came_in_between() {
        let refusals = Refusals::default();
        refusals.add(refusal("192.0.2.1:1", "one"));
        let (seen, first) = refusals.since(0);
        assert_eq!((seen, first.len()), (1, 1));
        assert!(refusals.since(seen).1.is_empty());
        refusals.add(refusal("192.0.2.1:1", "two"));
        refusals.add(refusal("192.0.2.1:1", "three"));
        let (seen, next) = refusals.since(seen);
        let next: Vec<_> = next.iter().map(|refusal| &*refusal.detail).collect();
        assert_eq!((seen, &next[..]), (3, &["three", "two"][..]));
    }

    #[test]
    fn many_networks_together_stay_within_the_bounds() {
        let refusals = Refusals::default();
        let long = "x".repeat(4096);
        for n in 0..2 * MAX {
            let (a, b) = (n / 256, n % 256);
            refusals.add(refusal(&format!("10.{a}.{b}.1:1"), ""));
        }
        assert_eq!(refusals.latest().len(), MAX);
        for n in 0..MAX {
            let (a, b) = (n / 256, n % 256);
            refusals.add(refusal(&format!("10.{a}.{b}.1:1"), &long));
        }
        let kept = refusals.latest();
        let bytes: usize = kept.iter().map(|refusal| refusal.weight()).sum();
        assert!(bytes <= MAX_BYTES && kept.len() > 100, "{bytes}");
        let ring = refusals.lock();
        assert_eq!(ring.bytes, bytes);
        assert_eq!(ring.networks.values().sum::<usize>(), kept.len());
    }
}
