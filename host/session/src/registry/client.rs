//! Identity of a client, for counting failures.
//!
//! The input of one client can make a policy or a backend fail. A failure that only one client
//! causes must count once, however many connections that client opens.

use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use super::Session;

/// Identity of a client where failures are counted: the user that a policy has verified, or else
/// the network of the client's address. A network is the first 24 bits of an IPv4 address and the
/// first 48 of an IPv6 address, because one party easily has all addresses in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Client(u64);

/// Property that identifies a client.
#[derive(Hash)]
enum Sign<'a> {
    User(&'a str),
    Network(IpAddr),
}

/// Keyed by this process, so that nobody can construct another client's hash.
static HASHING: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Client {
    /// Client behind a session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let sign = match session.user() {
            Some(user) => Sign::User(user),
            None => Sign::Network(network(session.facts.remote.ip())),
        };
        Self(HASHING.hash_one(sign))
    }
}

#[cfg(any(test, feature = "testing"))]
impl Client {
    /// Client that differs from those of other numbers.
    #[must_use]
    pub fn numbered(number: u8) -> Self {
        Self(number.into())
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_client_and_mapped_ones_are_what_they_map() {
        let of = |address: &str| network(address.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.9"));
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:ffff::1"));
        assert_ne!(of("2001:db8:1::1"), of("2001:db8:2::1"));
    }
}
