//! The addresses of a backend, and which of them a stream goes to: the one with
//! the fewest sessions, of those that are well.
//!
//! An address that keeps failing is left alone for a while, so that a backend
//! that is down is not hammered, and streams are not kept waiting for it. Then
//! one stream finds out how it is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use self::health::{Health, Now, Probe};
use base::metrics;
use session::registry::Client;

mod health;

pub(super) use health::Failed;

/// When an address is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// After so many failures in a row; zero is never. Each connection that cannot be made is one,
    /// and so is each client that has a bad answer, however many it has.
    pub after: usize,
    /// How long.
    pub lasts: Duration,
}

/// Backends by their upstream and their addresses. How they are outlives the
/// configuration that names them, as long as anything uses them: a reload
/// neither wakes a backend that rests nor forgets the sessions that it has.
static KNOWN: LazyLock<Mutex<HashMap<Key, Weak<Backends>>>> = LazyLock::new(Mutex::default);

type Key = (String, Vec<(String, u16)>);

/// See the module.
pub(super) struct Backends {
    upstream: Arc<str>,
    addresses: Vec<Arc<Address>>,
    /// Who is first among equals.
    turn: AtomicUsize,
}

/// Where one of them listens.
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    sessions: AtomicUsize,
    health: Mutex<Health>,
}

/// A session's place at an address.
pub(super) struct Seat(Arc<Address>);

/// An attempt to reach an address. One that nobody waits for says nothing.
pub(super) struct Attempt<'a> {
    backends: &'a Backends,
    pub(super) address: Arc<Address>,
    client: Client,
    probe: Probe,
}

impl Backends {
    /// Those of an upstream.
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
            turn: AtomicUsize::new(0),
        });
        known.insert(key, Arc::downgrade(&backends));
        backends
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Every address that may be tried, the least busy first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = Arc<Address>> {
        let count = self.addresses.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let turned = |index: usize| Arc::clone(&self.addresses[(turn + index) % count]);
        let mut order: Vec<_> = (0..count).map(turned).collect();
        // Stable: equals stay in turn.
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

impl Attempt<'_> {
    /// The backend is there. The session has its place until the seat is dropped.
    pub(super) fn succeeded(mut self) -> Seat {
        *lock(&self.address.health) = Health::well();
        self.probe = Probe::No;
        self.address.sessions.fetch_add(1, Ordering::Relaxed);
        Seat(Arc::clone(&self.address))
    }

    /// It is not, or does not work.
    pub(super) fn failed(mut self, how: Failed, rest: Rest) {
        let now = lock(&self.address.health).failed(self.probe, self.client, how, rest);
        self.probe = Probe::No;
        if now == Now::Rests {
            let Address { host, port, .. } = &*self.address;
            tracing::warn!(
                upstream = &*self.backends.upstream, backend = format!("{host}:{port}"), lasts = ?rest.lasts,
                "a backend keeps failing, and is left alone"
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

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

// Nothing here is half changed, so poisoning carries no news.
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

    fn seat(backends: &Backends) -> (u16, Seat) {
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
        let seats: Vec<_> = (0..6).map(|_| seat(&backends)).collect();
        let mut ports: Vec<_> = seats.iter().map(|(port, _)| *port).collect();
        ports.sort_unstable();
        assert_eq!(ports, [1, 1, 2, 2, 3, 3]);
        // Those of the second end: it is the least busy now.
        let left: Vec<_> = seats.into_iter().filter(|(port, _)| *port != 2).collect();
        assert_eq!((seat(&backends).0, left.len()), (2, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_keeps_failing_rests_and_then_one_stream_finds_out_how_it_is() {
        let backends = backends("rests", &[1]);
        assert!((0..3).all(|_| fail(&backends)));
        assert!(!fail(&backends), "it rests");
        tokio::time::advance(REST.lasts).await;
        let probe = attempt(&backends, first(&backends)).expect("its rest is over");
        assert!(!fail(&backends), "one is enough");
        // Nobody waited for it.
        drop(probe);
        assert!(fail(&backends), "the next one");
        assert!(!fail(&backends), "it rests again");
        tokio::time::advance(REST.lasts).await;
        drop(seat(&backends));
        assert!(fail(&backends), "it is well");
    }

    #[tokio::test(start_paused = true)]
    async fn successes_between_failures_keep_it_in_use_and_zero_is_never() {
        let backends = backends("between", &[1]);
        for _ in 0..10 {
            assert!(fail(&backends) && fail(&backends));
            drop(seat(&backends));
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
