//! Load balancing and circuit breaking over the addresses of a backend.
//!
//! A stream goes to the healthy address with the fewest sessions, round-robin among equals. An
//! address that keeps failing is not tried for a while, so that a backend that is down gets no load
//! and streams do not wait for it. Then one stream probes it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use self::health::{Health, Now, Probe};
use crate::status::BackendAddress;
use base::metrics;
use session::registry::Client;

mod health;

pub(super) use health::Failed;

/// Settings of the circuit breaker of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// Number of failures in a row after which the address rests; 0 is never. Each connection that
    /// cannot be made is a failure. All bad answers to one client together are one failure.
    pub after: usize,
    /// Duration of a rest.
    pub lasts: Duration,
}

/// Backends by their upstream and their addresses. Their state outlives the configuration that
/// names them, as long as anything uses them: a reload neither wakes a backend that rests nor
/// forgets its sessions.
static KNOWN: LazyLock<Mutex<HashMap<Key, Weak<Backends>>>> = LazyLock::new(Mutex::default);

type Key = (String, Vec<(String, u16)>);

/// Addresses of one backend, with their load and health.
pub(super) struct Backends {
    upstream: Arc<str>,
    addresses: Vec<Arc<Address>>,
    /// Round-robin counter: which address comes first among equally busy ones.
    next: AtomicUsize,
}

/// Address where a backend listens, with its load and health.
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    sessions: AtomicUsize,
    health: Mutex<Health>,
}

/// Session that counts towards the load of an address, until this is dropped.
pub(super) struct ActiveSession(Arc<Address>);

/// Attempt to reach an address. One that is dropped counts neither as success nor as failure.
pub(super) struct Attempt<'a> {
    backends: &'a Backends,
    pub(super) address: Arc<Address>,
    client: Client,
    probe: Probe,
}

impl Backends {
    /// Backends of an upstream.
    pub(super) fn of(upstream: &str, addresses: Vec<(String, u16)>) -> Arc<Self> {
        let mut known = lock(&KNOWN);
        known.retain(|_, backends| backends.strong_count() > 0);
        let key = (upstream.to_owned(), addresses);
        if let Some(backends) = known.get(&key).and_then(Weak::upgrade) {
            return backends;
        }
        let address = |(host, port): &(String, u16)| {
            Arc::new(Address {
                host: host.clone(),
                port: *port,
                sessions: AtomicUsize::new(0),
                health: Mutex::new(Health::well()),
            })
        };
        let backends = Arc::new(Self {
            upstream: upstream.into(),
            addresses: key.1.iter().map(address).collect(),
            next: AtomicUsize::new(0),
        });
        known.insert(key, Arc::downgrade(&backends));
        backends
    }

    /// Number of addresses.
    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Every address, with its load and health.
    pub(super) fn addresses(&self) -> Vec<BackendAddress> {
        let seen = |address: &Arc<Address>| BackendAddress {
            address: format!("{}:{}", address.host, address.port),
            streams: address.sessions.load(Ordering::Relaxed),
            state: lock(&address.health).state(),
        };
        self.addresses.iter().map(seen).collect()
    }

    /// Every address that may be tried, the least busy first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = Arc<Address>> {
        let count = self.addresses.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let rotated = |index: usize| Arc::clone(&self.addresses[(first + index) % count]);
        let mut order: Vec<_> = (0..count).map(rotated).collect();
        // The sort is stable, so equally busy addresses stay in round-robin order.
        order.sort_by_key(|address| address.sessions.load(Ordering::Relaxed));
        order.into_iter()
    }

    /// Whether the address may be tried now for a stream of this client.
    pub(super) fn attempt(&self, address: Arc<Address>, client: Client) -> Option<Attempt<'_>> {
        let probe = lock(&address.health).enter(client)?;
        Some(Attempt {
            backends: self,
            address,
            client,
            probe,
        })
    }
}

impl Address {
    /// Whether it gets no streams for a while.
    pub(super) fn rests(&self) -> bool {
        lock(&self.health).rests()
    }

    /// Whether it has a stream, which shows that it is there.
    pub(super) fn has_streams(&self) -> bool {
        self.sessions.load(Ordering::Relaxed) > 0
    }
}

impl Attempt<'_> {
    /// Records a success, and counts the new session.
    pub(super) fn succeeded(mut self) -> ActiveSession {
        *lock(&self.address.health) = Health::well();
        self.probe = Probe::No;
        self.address.sessions.fetch_add(1, Ordering::Relaxed);
        ActiveSession(Arc::clone(&self.address))
    }

    /// Records a failure.
    pub(super) fn failed(mut self, how: Failed, rest: Rest) {
        let now = lock(&self.address.health).failed(self.probe, self.client, how, rest);
        self.probe = Probe::No;
        if now == Now::Rests {
            let Address { host, port, .. } = &*self.address;
            tracing::warn!(
                upstream = &*self.backends.upstream, backend = format!("{host}:{port}"), lasts = ?rest.lasts,
                "a backend keeps failing; its address gets no streams for a while"
            );
            metrics::upstream_rests(&self.backends.upstream);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.probe == Probe::Yes {
            lock(&self.address.health).abandoned();
        }
    }
}

impl Drop for ActiveSession {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

// Nothing here is half changed, so poisoning does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Rest = Rest {
        after: 3,
        lasts: Duration::from_secs(5),
    };

    fn backends(name: &str, ports: &[u16]) -> Arc<Backends> {
        Backends::of(
            name,
            ports.iter().map(|port| ("h".to_owned(), *port)).collect(),
        )
    }

    fn first(backends: &Backends) -> Arc<Address> {
        backends.in_order().next().expect("an address")
    }

    fn attempt(backends: &Backends, address: Arc<Address>) -> Option<Attempt<'_>> {
        backends.attempt(address, Client::numbered(0))
    }

    fn begin(backends: &Backends) -> (u16, ActiveSession) {
        let address = first(backends);
        let port = address.port;
        (
            port,
            attempt(backends, address).expect("it is well").succeeded(),
        )
    }

    fn fail(backends: &Backends) -> bool {
        match attempt(backends, first(backends)) {
            Some(attempt) => {
                attempt.failed(Failed::Unreached, REST);
                true
            }
            None => false,
        }
    }

    #[test]
    fn a_stream_goes_to_the_address_with_the_fewest_sessions() {
        let backends = backends("fewest", &[1, 2, 3]);
        let sessions: Vec<_> = (0..6).map(|_| begin(&backends)).collect();
        let mut ports: Vec<_> = sessions.iter().map(|(port, _)| *port).collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 1, 2, 2, 3, 3]);
        // Sessions of the second address end: it is the least busy now.
        let left: Vec<_> = sessions
            .into_iter()
            .filter(|(port, _)| *port != 2)
            .collect();
        assert_eq!((begin(&backends).0, left.len()), (2, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_keeps_failing_rests_and_then_one_stream_finds_out_how_it_is() {
        let backends = backends("rests", &[1]);
        assert!((0..3).all(|_| fail(&backends)));
        assert!(!fail(&backends), "it rests");
        tokio::time::advance(REST.lasts).await;
        let probe = attempt(&backends, first(&backends)).expect("its rest is over");
        assert!(!fail(&backends), "one is enough");
        // The probe is abandoned.
        drop(probe);
        assert!(fail(&backends), "the next one");
        assert!(!fail(&backends), "it rests again");
        tokio::time::advance(REST.lasts).await;
        drop(begin(&backends));
        assert!(fail(&backends), "it is well");
    }

    #[tokio::test(start_paused = true)]
    async fn successes_between_failures_keep_it_in_use_and_zero_is_never() {
        let backends = backends("between", &[1]);
        for _ in 0..10 {
            assert!(fail(&backends) && fail(&backends));
            drop(begin(&backends));
        }
        for _ in 0..10 {
            let attempt = attempt(&backends, first(&backends)).expect("never");
            attempt.failed(Failed::Unreached, Rest { after: 0, ..REST });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn how_they_are_outlives_a_reload() {
        let before = backends("reload", &[7]);
        assert!((0..3).all(|_| fail(&before)));
        let after = backends("reload", &[7]);
        drop(before);
        assert!(!fail(&after), "it still rests");
        assert!(fail(&backends("reload", &[8])), "another address does not");
    }
}
