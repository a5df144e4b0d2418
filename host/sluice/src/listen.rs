//! Listening sockets.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpListener;

/// Maximum number of connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;

/// Address families of a listener on `[::]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Families {
    /// IPv6 alone, because another listener has IPv4 on this port.
    One,
    /// Both, if the machine is set up so.
    Default,
}

/// Listens on all of these addresses. Each comes with the name of its option. A socket of `given`
/// takes the place of a new one, in the same order.
///
/// `[::]` serves IPv4 too, unless an IPv4 address with the same port is among them.
///
/// # Errors
/// If an address cannot be used. The error says what to do.
pub fn all(
    addresses: &[(SocketAddr, &str)],
    given: Vec<Option<std::net::TcpListener>>,
) -> anyhow::Result<Vec<TcpListener>> {
    let shares_port = |address: &SocketAddr| {
        let others = addresses.iter().map(|(other, _)| other);
        let mut four = others.filter(|other| other.is_ipv4());
        four.any(|other| other.port() == address.port() && other.port() != 0)
    };
    let bind = |((address, option), given): (&(SocketAddr, &str), _)| {
        if let Some(socket) = given {
            return adopt(socket).with_context(|| format!("the given socket on {address}"));
        }
        let families = match address.ip() {
            IpAddr::V6(six) if six.is_unspecified() && shares_port(address) => Families::One,
            _ => Families::Default,
        };
        bind(*address, families).with_context(|| {
            format!("cannot listen on {address}; choose another address with {option}")
        })
    };
    addresses.iter().zip(given).map(bind).collect()
}

fn adopt(socket: std::net::TcpListener) -> std::io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

fn bind(address: SocketAddr, families: Families) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if families == Families::One {
        socket.set_only_v6(true)?;
    }
    // A restarted gateway must not wait for connections of the previous process.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, port: u16) -> (SocketAddr, &'static str) {
        (SocketAddr::new(text.parse().unwrap(), port), "listen")
    }

    fn all_new(addresses: &[(SocketAddr, &str)]) -> anyhow::Result<Vec<TcpListener>> {
        all(addresses, addresses.iter().map(|_| None).collect())
    }

    /// A port that is free on every address.
    fn free_port() -> u16 {
        let listener = std::net::TcpListener::bind("[::]:0").unwrap();
        listener.local_addr().unwrap().port()
    }

    async fn connects(host: &str, port: u16) -> bool {
        tokio::net::TcpStream::connect((host, port)).await.is_ok()
    }

    #[tokio::test]
    async fn both_families_can_share_a_port_in_any_order() {
        for order in [["0.0.0.0", "::"], ["::", "0.0.0.0"], ["127.0.0.1", "::"]] {
            let port = free_port();
            let listeners = all_new(&order.map(|ip| address(ip, port))).unwrap();
            assert!(connects("127.0.0.1", port).await && connects("::1", port).await);
            // Each has its own.
            for (listener, ip) in listeners.iter().zip(order) {
                let (_, peer) = listener.accept().await.unwrap();
                assert_eq!(peer.is_ipv6(), ip.contains(':'), "{order:?}");
            }
        }
    }

    #[tokio::test]
    async fn all_addresses_of_ipv6_alone_serve_ipv4_too() {
        let listeners = all_new(&[address("::", 0)]).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        assert!(connects("127.0.0.1", port).await && connects("::1", port).await);
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named_with_its_option() {
        let taken = all_new(&[address("127.0.0.1", 0)]).unwrap();
        let port = taken[0].local_addr().unwrap().port();
        let error = all_new(&[address("127.0.0.1", port)])
            .unwrap_err()
            .to_string();
        let expected = format!("cannot listen on 127.0.0.1:{port}; choose another address");
        assert!(error.contains(&expected), "{error}");
    }
}
