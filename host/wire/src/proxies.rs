//! The client's address: the peer's, or the one that a trusted proxy reports.
//!
//! Policies, limits, the log and the backend all use this address. What an untrusted peer reports
//! is ignored, and never passed on.
//!
//! The operator names the one field that the proxies write. The other one may come from a client,
//! through a proxy that does not know it, so it is never read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::HeaderName;
use axum::http::header::FORWARDED;
use ipnet::IpNet;

use crate::headers;

pub mod preamble;

/// List of the client's address and those of the proxies behind it.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The client's address alone.
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// `[server]`: `trusted_proxies` and `client_address_header`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Header field that the proxies write.
    pub trusted: Vec<IpNet>,
    /// The field that they write.
    pub field: Field,
}

/// Header field in which proxies report the client's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Field {
    /// `X-Forwarded-For`
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

impl Field {
    /// Name of the field.
    #[must_use]
    pub const fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => X_FORWARDED_FOR,
            Self::Forwarded => FORWARDED,
        }
    }

    /// Elements of a line. A quote that a client opens must not hide what a proxy adds behind it:
    /// `X-Forwarded-For` has no quoted strings, and in `Forwarded` they must end.
    fn elements(self, line: &str) -> Vec<&str> {
        if self == Self::Forwarded && headers::is_whole(line) {
            return headers::elements([line.as_bytes()]).collect();
        }
        let elements = line
            .split(',')
            .map(|element| element.trim_matches([' ', '\t']));
        elements.filter(|element| !element.is_empty()).collect()
    }

    /// Address in an element of the field. `None` if it is malformed, unknown or obfuscated.
    fn address(self, element: &str) -> Option<SocketAddr> {
        match self {
            Self::XForwardedFor => node(&headers::unquoted(element)?),
            Self::Forwarded => {
                let pairs = headers::parts(element, ';').filter_map(|pair| pair.split_once('='));
                let mut nodes = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for"));
                let (_, value) = nodes.next()?;
                let one = nodes.next().is_none();
                one.then(|| node(&headers::unquoted(value)?))?
            }
        }
    }
}

impl Proxies {
    /// Whether this address is a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// The client's address, from the peer's address and the lines of [`Proxies::field`]. It is the
    /// last untrusted address, because each proxy appends its own peer's. An element that cannot be
    /// parsed ends the search, and the address before it counts. If all are trusted, it is the
    /// first.
    ///
    /// The port is 0 if it is unknown.
    #[must_use]
    pub fn client<'a>(
        &self,
        peer: SocketAddr,
        lines: impl IntoIterator<Item = &'a [u8]>,
    ) -> SocketAddr {
        let mut client = canonical(peer);
        if !self.trusts(client.ip()) {
            return client;
        }
        let lines: Vec<_> = lines.into_iter().collect();
        for line in lines.into_iter().rev() {
            let Some(line) = headers::text(line) else {
                return client;
            };
            for element in self.field.elements(line).into_iter().rev() {
                let Some(address) = self.field.address(element) else {
                    return client;
                };
                client = address;
                if !self.trusts(client.ip()) {
                    return client;
                }
            }
        }
        client
    }
}

/// Value of a header field that names the client, for a client at this address. It replaces what
/// the request says, which proves nothing. `None` for any other field.
#[must_use]
pub fn told(field: &HeaderName, client: SocketAddr) -> Option<String> {
    let address = client.ip();
    if *field == X_FORWARDED_FOR || *field == X_REAL_IP {
        Some(address.to_string())
    } else if *field == FORWARDED {
        Some(match address {
            IpAddr::V4(address) => format!("for={address}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\""),
        })
    } else {
        None
    }
}

/// The address, with an IPv4-mapped IPv6 address as IPv4. Each client has one form.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Address with or without a port. IPv6 is in brackets if there is a port (RFC 7239, section 6),
/// and may be in brackets without one.
fn node(node: &str) -> Option<SocketAddr> {
    let bare = |address: IpAddr| Some((address, None));
    let (address, port) = if let Some(rest) = node.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let port = match rest {
            "" => None,
            rest => Some(rest.strip_prefix(':')?),
        };
        (address.parse::<Ipv6Addr>().ok()?.into(), port)
    } else if let Some(found) = node.parse().ok().and_then(bare) {
        found
    } else {
        let (address, port) = node.split_once(':')?;
        (address.parse::<Ipv4Addr>().ok()?.into(), Some(port))
    };
    let port = match port {
        None => 0,
        Some(port) if port.starts_with('_') => 0,
        Some(port) => port.parse().ok()?,
    };
    Some(canonical(SocketAddr::new(address, port)))
}

#[cfg(test)]
mod tests;
