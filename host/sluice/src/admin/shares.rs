//! The share of a listener's connections that each address may have.
//!
//! An address that has its share gets a further connection in the place of one that has asked for
//! nothing yet. If all of them have, the further connection is closed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use base::permits::{fair_share, network};

/// Maximum number of connections of one address.
const MAX_OF_ONE: usize = 64;

/// Connections of one listener, by address. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shares {
    total: usize,
    held: Arc<Mutex<HashMap<IpAddr, Vec<Arc<Held>>>>>,
}

/// One connection.
#[derive(Default)]
struct Held {
    has_asked: AtomicBool,
    pushed_out: CancellationToken,
}

/// Share of a connection, until this is dropped.
pub(super) struct Share {
    shares: Shares,
    address: IpAddr,
    held: Arc<Held>,
}

impl Shares {
    /// Shares of a listener with so many connections.
    pub(super) fn of(total: usize) -> Self {
        Self {
            total,
            held: Arc::default(),
        }
    }

    /// Share of a connection that was accepted, with so many further ones free. `None` if its
    /// address has too many.
    ///
    /// When less than an eighth is free, that is for addresses that have less than an eighth. So a
    /// few of them cannot keep all others out.
    pub(super) fn take(&self, address: IpAddr, free: usize) -> Option<Share> {
        let most = MAX_OF_ONE.min(fair_share(self.total, free));
        let address = network(address);
        let mut held = self.lock();
        let of_it = held.entry(address).or_default();
        if of_it.len() >= most {
            let silent = |held: &Arc<Held>| !held.has_asked.load(Ordering::Relaxed);
            let oldest = of_it.iter().position(silent)?;
            of_it.remove(oldest).pushed_out.cancel();
        }
        let share = Arc::<Held>::default();
        of_it.push(Arc::clone(&share));
        drop(held);
        Some(Share {
            shares: self.clone(),
            address,
            held: share,
        })
    }

    // A map keeps its invariants at every step, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Vec<Arc<Held>>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Tells that the connection has asked for something.
    pub(super) fn asks(&self) -> impl Fn() + Clone + Send + Sync + use<> {
        let held = Arc::clone(&self.held);
        move || held.has_asked.store(true, Ordering::Relaxed)
    }

    /// Waits until the connection has to make room for another one.
    pub(super) async fn pushed_out(&self) {
        self.held.pushed_out.cancelled().await;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.lock();
        if let Some(of_it) = held.get_mut(&self.address) {
            of_it.retain(|held| !Arc::ptr_eq(held, &self.held));
            if of_it.is_empty() {
                held.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_makes_room_for_itself_and_takes_nobody_elses() {
        let shares = Shares::of(256);
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut held: Vec<_> = (0..MAX_OF_ONE)
            .map(|_| shares.take(one, 200).unwrap())
            .collect();
        held.iter().skip(1).for_each(|share| share.asks()());
        held.push(shares.take(one, 200).unwrap());
        let pushed_out = |share: &Share| share.held.pushed_out.is_cancelled();
        assert!(pushed_out(&held[0]) && !held.iter().skip(1).any(pushed_out));
        held[MAX_OF_ONE].asks()();
        assert!(shares.take(one, 200).is_none());
        assert!(shares.take(other, 200).is_some());
        // The last eighth is for others. The first one here counts no more.
        drop(held.split_off(33));
        assert!(shares.take(one, 31).is_none() && shares.take(other, 31).is_some());
        drop(held);
        assert!(shares.lock().is_empty());
    }
}
