//! Counters of what each client holds, with a limit for one client.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Limits for one client, from the section `[server]`. `None` is unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    /// Maximum number of connections of one address.
    pub per_address: Option<usize>,
    /// Maximum number of connections of one user.
    pub per_user: Option<usize>,
    /// Maximum number of connections of one tenant.
    pub per_tenant: Option<usize>,
    /// Maximum number of parked streams of one client.
    pub parked_per_client: Option<usize>,
}

/// Holder of a share of connections or memory. Cheap to clone: several accounts of a connection name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ShareHolder {
    /// Client address, as [`network`] returns it.
    Address(IpAddr),
    /// User, by the attributes that identify it.
    User(Arc<[(String, String)]>),
    /// Tenant, by the attributes that identify it.
    Tenant(Arc<[(String, String)]>),
}

/// Count for each holder. Holders with a count of 0 use no memory.
#[derive(Debug)]
pub struct Tally<K>(Arc<Mutex<HashMap<K, usize>>>);

/// One unit of a holder's count, until this is dropped.
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
    /// Counts one more for a holder; `None` if it has `most` already.
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
    // A map keeps its invariants at every step, so poisoning does not matter.
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

/// Divisor of the reserve: the last eighth of a resource is for holders that have less than an
/// eighth.
pub(super) const FAIR_PART: usize = 8;

/// Maximum that one holder may have of `total`, of which `free` is left.
///
/// While more than an eighth is free there is no maximum. After that it is an eighth. A total of
/// less than 16 has no reserve.
#[must_use]
pub fn fair_share(total: usize, free: usize) -> usize {
    let part = total / FAIR_PART;
    if part > 1 && free < part {
        part
    } else {
        usize::MAX
    }
}

/// Address that a client is counted by. For IPv6 it is the network of 64 bits, because a client
/// usually has a whole one and can connect from all of it.
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
