//! What one client has of the gateway, counted.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// `[server]`: how much one client may have at once; without a bound where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    /// Connections of one address.
    pub per_address: Option<usize>,
    /// Connections of one user.
    pub per_user: Option<usize>,
    /// Connections of one tenant.
    pub per_tenant: Option<usize>,
    /// Parked streams of one client.
    pub parked_per_client: Option<usize>,
}

/// Who has connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// An address: see [`network`].
    Address(IpAddr),
    /// A user, by the attributes that say who that is.
    User(Vec<(String, String)>),
    /// A tenant, likewise.
    Tenant(Vec<(String, String)>),
}

/// How many each holder has. Who has none is not remembered.
#[derive(Debug)]
pub struct Tally<K>(Arc<Mutex<HashMap<K, usize>>>);

/// One of what a holder has, until this is dropped.
#[derive(Debug)]
pub struct Share<K: Eq + Hash> {
    tally: Tally<K>,
    holder: K,
}

impl<K> Clone for Tally<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash + Clone> Tally<K> {
    /// One more for a holder that has less than so many.
    #[must_use]
    pub fn take(&self, holder: K, most: usize) -> Option<Share<K>> {
        let mut counts = self.lock();
        let has = counts.get(&holder).copied().unwrap_or_default();
        if has >= most {
            return None;
        }
        counts.insert(holder.clone(), has + 1);
        drop(counts);
        Some(Share {
            tally: self.clone(),
            holder,
        })
    }
}

impl<K> Tally<K> {
    // A map keeps its invariants at every step, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut counts = self.tally.lock();
        match counts.get_mut(&self.holder) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&self.holder);
            }
        }
    }
}

/// The part of anything that is kept for holders that have little of it, and that each of these
/// may have.
pub(super) const FAIR_PART: usize = 8;

/// How much one holder may have of `total`, of which `free` is left: the last part is for those that
/// have less than such a part. Of a handful there is no part to keep.
#[must_use]
pub fn fair_share(total: usize, free: usize) -> usize {
    let part = total / FAIR_PART;
    if part > 1 && free < part {
        part
    } else {
        usize::MAX
    }
}

/// What counts as one address: whoever has one of IPv6 usually has a network of 64 bits, and can
/// connect from all of it.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    const HOST: u128 = u64::MAX as u128;
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !HOST).into()),
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_has_its_share_and_takes_nobody_elses() {
        let tally = Tally::default();
        let (first, second) = (tally.take("a", 2), tally.take("a", 2));
        assert!(first.is_some() && second.is_some() && tally.take("a", 2).is_none());
        let other = tally.take("b", 1);
        assert!(other.is_some() && tally.take("b", 1).is_none());
        drop(second);
        assert!(tally.take("a", 2).is_some());
        drop((first, other));
        assert!(tally.lock().is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_each_of_ipv4_is_another() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:0:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
    }
}
