//! Room for decisions that wait to be recorded, in bytes of memory.
//!
//! Anybody can cause decisions: each connection is one, and its client chooses
//! how large they are. So the room is shared out. A part of it is kept for
//! sessions that were admitted; whoever was not has the rest; and no client
//! address has more than a share of either, so that one that floods the gateway
//! loses its own lines and nobody else's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes for all that waits.
const ALL: usize = 32 * 1024 * 1024;
/// Bytes of these for sessions that were not admitted.
const NEWCOMERS: usize = ALL / 2;
/// Bytes for the admitted sessions of one address.
const ADMITTED_OF_SOURCE: usize = ALL / 2;
/// Bytes for the sessions of one address that were not admitted.
const NEWCOMERS_OF_SOURCE: usize = ALL / 8;

/// Whether a policy has let a session in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// One has.
    Admitted,
    /// None has.
    Newcomer,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// Too much waits.
    Full,
    /// Too much waits of this client address.
    Source,
}

impl NoRoom {
    /// As in the metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "queue-full",
            Self::Source => "source-quota",
        }
    }
}

/// Quota of memory for lines that wait. Cheap to clone.
#[derive(Clone, Default)]
pub struct Quota(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    all: usize,
    newcomers: usize,
    /// Only those of which something waits: they are as many as fit in here.
    sources: HashMap<(IpAddr, Standing), usize>,
}

/// Permission to wait in it, which is given back when this is dropped.
pub struct QuotaPermit {
    quota: Quota,
    source: IpAddr,
    standing: Standing,
    bytes: usize,
}

impl Quota {
    /// Takes room for so many bytes.
    ///
    /// # Errors
    /// [`NoRoom`]
    pub fn take(
        &self,
        client: IpAddr,
        standing: Standing,
        bytes: usize,
    ) -> Result<QuotaPermit, NoRoom> {
        let source = source(client);
        let mut held = self.lock();
        let of_source = held
            .sources
            .get(&(source, standing))
            .copied()
            .unwrap_or_default();
        let (share, quota) = match standing {
            Standing::Admitted => (ALL - held.all.min(ALL), ADMITTED_OF_SOURCE),
            Standing::Newcomer => {
                let left = NEWCOMERS - held.newcomers.min(NEWCOMERS);
                (left.min(ALL - held.all.min(ALL)), NEWCOMERS_OF_SOURCE)
            }
        };
        if bytes > quota.saturating_sub(of_source) {
            return Err(NoRoom::Source);
        }
        if bytes > share {
            return Err(NoRoom::Full);
        }
        held.all += bytes;
        if standing == Standing::Newcomer {
            held.newcomers += bytes;
        }
        held.sources.insert((source, standing), of_source + bytes);
        drop(held);
        Ok(QuotaPermit {
            quota: self.clone(),
            source,
            standing,
            bytes,
        })
    }

    /// Bytes that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().all
    }

    // Each change leaves it whole, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        let mut held = self.quota.lock();
        held.all -= self.bytes;
        if self.standing == Standing::Newcomer {
            held.newcomers -= self.bytes;
        }
        let key = (self.source, self.standing);
        if let Some(left) = held.sources.get_mut(&key) {
            *left -= self.bytes;
            if *left == 0 {
                held.sources.remove(&key);
            }
        }
    }
}

/// What counts as one client address: of IPv6 the network of 64 bits, of which
/// one host has all addresses.
fn source(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::Standing::{Admitted, Newcomer};
    use super::*;

    fn address(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    /// How many KiB a source gets, and why no more.
    fn fill(quota: &Quota, client: IpAddr, standing: Standing) -> (Vec<QuotaPermit>, NoRoom) {
        let mut places = Vec::new();
        loop {
            match quota.take(client, standing, 1024) {
                Ok(place) => places.push(place),
                Err(why) => return (places, why),
            }
        }
    }

    #[test]
    fn one_address_has_a_share_and_no_more() {
        let quota = Quota::default();
        let (flood, why) = fill(&quota, address(1), Newcomer);
        assert_eq!((flood.len(), why), (4 * 1024, NoRoom::Source));
        assert!(quota.take(address(2), Newcomer, 1024).is_ok());
        assert!(quota.take(address(1), Admitted, 1024).is_ok());
    }

    #[test]
    fn however_many_addresses_flood_it_admitted_sessions_have_room() {
        let quota = Quota::default();
        let floods: Vec<_> = (0..20)
            .map(|n| fill(&quota, address(n), Newcomer))
            .collect();
        let held: usize = floods.iter().map(|(places, _)| places.len()).sum();
        assert_eq!((held, floods[19].1), (16 * 1024, NoRoom::Full));
        let (admitted, why) = fill(&quota, address(1), Admitted);
        assert_eq!((admitted.len(), why), (16 * 1024, NoRoom::Source));
        assert_eq!(
            quota.take(address(2), Admitted, 1).err(),
            Some(NoRoom::Full)
        );
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_nothing_is_remembered() {
        let quota = Quota::default();
        drop(fill(&quota, address(1), Newcomer));
        drop(fill(&quota, address(1), Admitted));
        let held = quota.lock();
        assert_eq!((held.all, held.newcomers, held.sources.len()), (0, 0, 0));
    }

    #[test]
    fn addresses_that_one_host_has_are_one() {
        let of = |text: &str| source(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), address(1));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
