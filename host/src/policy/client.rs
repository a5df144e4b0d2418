//! Who is behind a connection, and what only that client is to be blamed for.
//!
//! A call of a policy can end without an answer for two reasons, which are different types. A
//! [`Failure`](super::Failure) is the policy's: it counts toward quarantine. A [`ClientFault`] is
//! the client's: what it sent is larger than the gateway lets a policy hand on. It refuses that
//! connection, whatever the policy's `on_failure` says, and counts for nothing.
//!
//! A failure can depend on the client's input as well: a guest that panics on a header, or runs
//! out of memory on a message. No gateway can tell that from the outside, so failures are counted
//! by client. See [`Client`] for how clients are told apart.

use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use super::Question;
use crate::rejection::Rejection;
use crate::session::Session;

/// Identity of a client where failures are counted: the user that a policy has verified, or else
/// the network of the client's address. A network is the first 24 bits of an IPv4 address and the
/// first 48 of an IPv6 address, because one party easily has all addresses in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client(u64);

/// What a client is recognised by.
#[derive(Hash)]
enum Sign<'a> {
    User(&'a str),
    Network(IpAddr),
}

/// Keyed by this process, so that nobody can look for another client's value.
static HASHING: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Client {
    /// The client behind a session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let sign = match session.user() {
            Some(user) => Sign::User(user),
            None => Sign::Network(network(session.facts.remote.ip())),
        };
        Self(HASHING.hash_one(sign))
    }
}

#[cfg(test)]
impl Client {
    /// A client that no other number is.
    pub(super) fn numbered(number: u8) -> Self {
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

/// What of a client's input was too much for a policy to hand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientFault {
    /// The bound that was passed.
    pub excess: Excess,
    /// The part of the input that was decided about.
    pub sent: Sent,
}

/// A bound on what a policy hands to the gateway, where that was made of the client's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Bytes of an attribute: `max_attribute`, or the gateway's own bound.
    #[error("an attribute made of the client's input is too long")]
    AttributeBytes,
    /// Attributes of a connection.
    #[error("the client's input would leave too many attributes")]
    Attributes,
    /// Bytes of the key of an exclusive claim.
    #[error("a claim's key made of the client's input is too long")]
    ClaimBytes,
    /// Exclusive claims of a connection.
    #[error("the client's input would make too many claims")]
    Claims,
    /// Bytes of the key of a counter.
    #[error("a counter's key made of the client's input is too long")]
    CounterBytes,
    /// Bytes that one call to the gateway copies: `hostcall_fuel`.
    #[error("the policy handed on too much of the client's input at once")]
    Copied,
}

/// The part of a client's input that a policy was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The upgrade request, its token included.
    Request,
    /// The handshake message.
    Handshake,
    /// The stream.
    Stream,
}

impl From<Question<'_>> for Sent {
    fn from(question: Question<'_>) -> Self {
        match question {
            Question::Connect => Self::Request,
            Question::Handshake(_) => Self::Handshake,
            Question::Frames(_) | Question::Close(_) => Self::Stream,
        }
    }
}

impl ClientFault {
    /// What the client is told: 4000 about a handshake, 4005 about anything else.
    #[must_use]
    pub fn rejection(&self) -> Rejection {
        let what = match self.sent {
            Sent::Request => "the request",
            Sent::Handshake => "the handshake",
            Sent::Stream => "the stream",
        };
        let message = match self.excess {
            Excess::Attributes | Excess::Claims => format!("{what} has too many values"),
            Excess::AttributeBytes | Excess::ClaimBytes | Excess::CounterBytes | Excess::Copied => {
                format!("{what} has a value that is too long")
            }
        };
        match self.sent {
            Sent::Handshake => Rejection::new(4000, "handshake_invalid", &message),
            Sent::Request | Sent::Stream => Rejection::new(4005, "policy_denied", &message),
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

    #[test]
    fn a_client_is_told_in_which_part_of_its_input_what_is_too_much() {
        let fault = |excess, sent| ClientFault { excess, sent }.rejection();
        let handshake = fault(Excess::Copied, Sent::Handshake);
        assert_eq!(
            (handshake.close_code, handshake.code.as_str()),
            (4000, "handshake_invalid")
        );
        assert_eq!(
            handshake.message,
            "the handshake has a value that is too long"
        );
        let request = fault(Excess::Claims, Sent::Request);
        assert_eq!(request.close_code, 4005);
        assert_eq!(request.message, "the request has too many values");
        assert!(!request.retryable);
    }
}
