//! Listening sockets of the gateway: new ones, or those that it was given.

use std::net::{SocketAddr, TcpListener as GivenListener};
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, bail};
use listenfd::ListenFd;
use tokio::net::TcpListener;

use crate::listen;
use wire::proxies::preamble::Preamble;

/// Listening sockets of the gateway.
pub(super) struct Listeners {
    pub(super) clients: Vec<(TcpListener, Preamble)>,
    /// Addresses of `clients`.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) admin: Option<TcpListener>,
    pub(super) probes: Option<TcpListener>,
}

/// Listening sockets that the process was given. They accept already, so no client is refused while
/// the gateway starts.
#[derive(Debug, Default)]
pub(super) struct Given(Vec<(GivenListener, Giver)>);

/// Who gave a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Giver {
    /// The service manager, whose configuration must fit the gateway's.
    Manager,
    /// The gateway before, whose configuration may have been another.
    Predecessor,
}

impl Given {
    /// Sockets of the service manager (`LISTEN_FDS`, sd_listen_fds(3)).
    ///
    /// # Errors
    /// If one is no listening TCP socket.
    pub(super) fn by_manager() -> anyhow::Result<Self> {
        let mut sockets = ListenFd::from_env();
        let mut given = Vec::new();
        for index in 0..sockets.len() {
            let socket = sockets.take_tcp_listener(index).with_context(|| {
                format!(
                    "socket {index} of LISTEN_FDS is no listening TCP socket; \
                     look at ListenStream in the .socket unit"
                )
            })?;
            given.extend(socket.map(|socket| (socket, Giver::Manager)));
        }
        Ok(Self(given))
    }

    /// Adds the sockets of the gateway before.
    pub(super) fn and_by_predecessor(&mut self, sockets: Vec<GivenListener>) {
        let sockets = sockets.into_iter();
        self.0
            .extend(sockets.map(|socket| (socket, Giver::Predecessor)));
    }

    /// The one for this address. Port 0 is any port.
    fn take(&mut self, address: SocketAddr) -> Option<GivenListener> {
        let is_it = |(socket, _): &(GivenListener, Giver)| {
            socket
                .local_addr()
                .is_ok_and(|its| its == address || address.port() == 0 && its.ip() == address.ip())
        };
        let index = self.0.iter().position(is_it)?;
        Some(self.0.remove(index).0)
    }

    /// What nothing has taken.
    fn finish(self) -> anyhow::Result<()> {
        for (socket, giver) in self.0 {
            let address = socket.local_addr()?;
            match giver {
                Giver::Manager => bail!(
                    "LISTEN_FDS has a socket on {address}, which listen, proxy_listen, admin_listen \
                     and probe_listen in [server] do not name"
                ),
                Giver::Predecessor => tracing::info!(%address, "nothing listens there any more"),
            }
        }
        Ok(())
    }
}

impl Listeners {
    /// Takes the given sockets, and listens on the addresses that are left.
    ///
    /// # Errors
    /// If an address cannot be used, or a given socket has an address that no option names.
    pub(super) fn bind(server: &config::Server, mut given: Given) -> anyhow::Result<Self> {
        let named = |addresses: &[SocketAddr], option: &'static str| -> Vec<_> {
            let addresses = addresses.iter();
            addresses.map(|address| (*address, option)).collect()
        };
        let mut wanted = named(&server.listen, "--listen or listen in [server]");
        wanted.extend(named(&server.proxy_listen, "proxy_listen in [server]"));
        let (admin, probes) = (server.admin.listen, server.admin.probe);
        wanted.extend(named(admin.as_slice(), "admin_listen in [server]"));
        wanted.extend(named(probes.as_slice(), "probe_listen in [server]"));
        let taken = wanted.iter().map(|(address, _)| given.take(*address));
        let taken: Vec<_> = taken.collect();
        given.finish()?;
        let mut bound = listen::all(&wanted, taken)?;
        // The last ones first.
        let probes = probes.and_then(|_| bound.pop());
        let admin = admin.and_then(|_| bound.pop());
        let plain = std::iter::repeat_n(Preamble::None, server.listen.len());
        let preambles = plain.chain(std::iter::repeat(Preamble::Expected));
        let addresses = bound.iter().map(TcpListener::local_addr);
        Ok(Self {
            addresses: addresses.collect::<Result<_, _>>()?,
            clients: bound.into_iter().zip(preambles).collect(),
            admin,
            probes,
        })
    }

    /// The same sockets, for another process.
    ///
    /// # Errors
    /// If file descriptors are scarce.
    pub(super) fn shared(&self) -> std::io::Result<Vec<OwnedFd>> {
        let clients = self.clients.iter().map(|(socket, _)| socket);
        let sockets = clients.chain(&self.admin).chain(&self.probes);
        sockets
            .map(|socket| socket.as_fd().try_clone_to_owned())
            .collect()
    }
}
