//! Dialing of a backend: choice of an address, connection, TLS, upgrade and handshake.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::BytesMut;
use tokio::io::split;
use tokio::net::TcpStream;
use tokio::time::Instant;

use self::failure::{Culprit, DialError};
use super::backend_socket::BackendSocket;
use super::backends::{ActiveSession, Address, Backends, Failed};
use super::link::BackendLink;
use super::opening::PendingHandshake;
use super::pool::ConnectionPool;
use super::transport::BackendTransport;
use super::{WebSocket, request, resolve};
use crate::link::{OpenError, StreamInfo};
use base::metrics;
use wire::frame::{FrameReader, FrameWriter};

mod failure;
mod reach;

const UNREACHABLE: &str = "the upstream cannot be reached";
const REFUSED: &str = "the upstream does not take streams";
/// Time limit of one step of a connection attempt, divided by the number of addresses. All
/// addresses are tried before the gateway's own time limit for the handshake is over.
const STEPS: Duration = Duration::from_millis(3500);

/// Dials a backend for each stream.
#[derive(Clone)]
pub struct Dialer {
    pub(super) name: Arc<str>,
    pub(super) backend: Arc<WebSocket>,
    pub(super) backends: Arc<Backends>,
    pool: Arc<ConnectionPool>,
    pub(super) data_dir: Arc<Path>,
}

/// Connection to a backend that has answered the upgrade with 101.
struct Upgraded {
    transport: BackendTransport,
    /// Bytes that came behind the answer.
    received: BytesMut,
    session: ActiveSession,
}

impl Dialer {
    /// Dialer of the upstream of this name.
    #[must_use]
    pub fn new(name: &str, backend: WebSocket, data_dir: &Path) -> Self {
        let mut addresses = backend.addresses.clone();
        if addresses.is_empty() {
            let (host, port) = backend.url.host_and_port();
            addresses.push((host.to_owned(), port));
        }
        Self {
            name: name.into(),
            backends: Backends::of(name, addresses),
            pool: ConnectionPool::new(backend.warm_connections),
            backend: Arc::new(backend),
            data_dir: data_dir.into(),
        }
    }

    /// Opens a new connection, for a stream from this byte of its audio on.
    pub(super) async fn dial(
        &self,
        stream: &StreamInfo,
        from: u64,
    ) -> Result<BackendLink, OpenError> {
        let backend = &*self.backend;
        let target = backend
            .url
            .expand(&stream.facts)
            .map_err(|error| OpenError::NoPlace {
                public: "this stream has no place at the upstream".to_owned(),
                detail: error.into(),
            })?;
        let started = Instant::now();
        let upgraded = self.upgrade(&target, stream).await;
        match &upgraded {
            Ok(_) => metrics::dialed(&self.name, started.elapsed()),
            Err(_) => metrics::dial_failed(&self.name),
        }
        let Upgraded {
            transport,
            received,
            session,
        } = upgraded?;
        let address = transport.address();
        let (read, write) = split(transport);
        let reader = FrameReader::of_server(read, backend.max_message, received);
        let writer = FrameWriter::to_server(write);
        let socket = BackendSocket::new(reader, writer, backend.max_buffer);
        let Some(greeting) = &stream.greeting else {
            stream.destination.is_with(address);
            return Ok(BackendLink::plain(socket, backend, session));
        };
        let mut opening = PendingHandshake::begin(socket, greeting, backend);
        if let Err(error) = opening.answered(backend.replies).await {
            opening.socket.part();
            return Err(error);
        }
        stream.destination.is_with(address);
        Ok(BackendLink::ingest(
            opening,
            backend,
            stream.receipts,
            from,
            session,
        ))
    }

    /// Upgrades a connection to the first address that accepts it.
    async fn upgrade(&self, target: &str, stream: &StreamInfo) -> Result<Upgraded, OpenError> {
        let rest = self.backend.rest;
        let mut why = None;
        for address in self.backends.in_order() {
            let Some(attempt) = self.backends.attempt(address, stream.client) else {
                continue;
            };
            match self.upgrade_at(&attempt.address, target, stream).await {
                Ok((transport, received)) => {
                    self.warm_up(&attempt.address);
                    return Ok(Upgraded {
                        transport,
                        received,
                        session: attempt.succeeded(),
                    });
                }
                Err(DialError {
                    public,
                    fault,
                    detail,
                }) => {
                    match fault {
                        Culprit::Stream => {
                            drop(attempt.succeeded());
                            return Err(OpenError::unavailable(REFUSED, detail));
                        }
                        Culprit::Address => attempt.failed(Failed::Unreached, rest),
                        Culprit::Answer => attempt.failed(Failed::Answer, rest),
                        Culprit::Gateway => drop(attempt),
                    }
                    tracing::debug!(
                        upstream = &*self.name,
                        ?fault,
                        ?detail,
                        "an address of the backend could not be used"
                    );
                    why = Some(OpenError::unavailable(public, detail));
                }
            }
        }
        Err(why.unwrap_or_else(|| {
            let detail = anyhow!("it keeps failing, and gets no streams for {:?}", rest.lasts);
            OpenError::unavailable(UNREACHABLE, self.at(detail))
        }))
    }

    async fn upgrade_at(
        &self,
        address: &Address,
        target: &str,
        stream: &StreamInfo,
    ) -> Result<(BackendTransport, BytesMut), DialError> {
        let at = |detail: anyhow::Error| {
            let Address { host, port, .. } = address;
            detail.context(format!("the backend {host}:{port}"))
        };
        let request = || request::UpgradeRequest::new(&self.backend, target, stream);
        if let Some(mut transport) = self.pool.take(address)
            && let Ok(received) = self.bounded(request().upgrade(&mut transport)).await
        {
            return Ok((transport, received));
        }
        // An idle connection that waited too long may be dead, which says nothing about its
        // backend.
        let connecting = self.bounded(self.connect(address));
        let mut transport = connecting.await.map_err(|error| DialError {
            public: UNREACHABLE,
            fault: Culprit::of_connecting(&error),
            detail: at(error),
        })?;
        let received = self.bounded(request().upgrade(&mut transport)).await;
        let received = received.map_err(|error| DialError {
            public: REFUSED,
            fault: Culprit::of_asking(&error),
            detail: at(error),
        })?;
        Ok((transport, received))
    }

    async fn connect(&self, address: &Address) -> anyhow::Result<BackendTransport> {
        let Address { host, port, .. } = address;
        let found = resolve::lookup(host, *port).await;
        let found = found.context("its name is not known")?;
        let tcp = TcpStream::connect(&*found).await?;
        // Audio must not wait for acknowledgements.
        tcp.set_nodelay(true)?;
        match &self.backend.trust {
            // The server must prove the name in the URL.
            Some(trust) => trust.secure(tcp, self.backend.url.host_and_port().0).await,
            None => Ok(BackendTransport::plain(tcp)),
        }
    }

    async fn bounded<T>(&self, step: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let limit = STEPS
            / u32::try_from(self.backends.len())
                .unwrap_or(u32::MAX)
                .max(1);
        let in_time = tokio::time::timeout(limit, step).await;
        in_time.with_context(|| format!("it took longer than {limit:?}"))?
    }

    /// Opens the idle connections that the next streams will use.
    fn warm_up(&self, address: &Arc<Address>) {
        while let Some(coming) = self.pool.lacks(address) {
            let (dialer, address) = (self.clone(), Arc::clone(address));
            tokio::spawn(async move {
                if let Ok(transport) = dialer.bounded(dialer.connect(&address)).await {
                    coming.arrived(transport);
                }
            });
        }
    }

    /// Names the backend for the operator, without anything that identifies a client.
    fn at(&self, detail: anyhow::Error) -> anyhow::Error {
        detail.context(format!("the backend {}", self.backend.url.authority()))
    }
}
