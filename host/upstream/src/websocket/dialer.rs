//! The way to a backend: an address of those that there are, a connection, TLS, the upgrade, and
//! the handshake.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::BytesMut;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::io::split;
use tokio::net::TcpStream;

use self::failure::{Failure, Fault};
use super::backend_socket::BackendSocket;
use super::backends::{ActiveSession, Address, Backends, Failed};
use super::hold::Held;
use super::link::Relay;
use super::opening::Opening;
use super::pool::Pool;
use super::tee::{self, Tee};
use super::transport::Transport;
use super::{OnLoss, Promise, WebSocket, request, resolve};
use crate::link::{Link, Lost, OpenError, Receipts, StreamInfo, Upstream};
use crate::wav::Wav;
use base::metrics::TeeHalf;
use wire::frame::{FrameReader, FrameWriter};

mod failure;

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
    backends: Arc<Backends>,
    pool: Arc<Pool>,
    pub(super) data_dir: Arc<Path>,
}

/// A backend that has answered an upgrade with 101.
struct Upgraded {
    transport: Transport,
    /// What came behind its answer.
    received: BytesMut,
    session: ActiveSession,
}

impl Upstream for Dialer {
    fn open(&self, stream: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        self.start(stream).boxed()
    }

    fn descriptors(&self) -> u32 {
        self.backend.descriptors()
    }

    fn outage(&self) -> Duration {
        match &self.backend.on_loss {
            OnLoss::Fail => Duration::ZERO,
            OnLoss::Hold(hold) => hold.timeout,
        }
    }
}

impl Dialer {
    /// Dials the upstream of that name.
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
            pool: Pool::new(backend.warm_connections),
            backend: Arc::new(backend),
            data_dir: data_dir.into(),
        }
    }

    async fn start(&self, stream: StreamInfo) -> Result<Box<dyn Link>, OpenError> {
        let Some(recordings) = &self.backend.tee else {
            return self.relay(stream, Absent::Refuses).await;
        };
        // First the recording: it is to be complete even if the backend is not
        // there.
        let wav = Wav::new(self.data_dir.join(&recordings.folder))
            .laid_out(&recordings.layout)
            .watched(&self.name, self.backend.min_free);
        let recording = match wav.open(stream.clone()).await {
            Ok(recording) => Some(recording),
            // The backend is fine, and nobody was promised a recording.
            Err(OpenError::Unavailable { public, detail })
                if self.backend.receipts != Promise::Recorded
                    || stream.receipts == Receipts::None =>
            {
                tee::gave_up(&self.name, TeeHalf::Recording, &Lost { public, detail });
                None
            }
            Err(error) => return Err(error),
        };
        let absent = match recording {
            Some(_) => Absent::IsWaitedFor,
            None => Absent::Refuses,
        };
        let relay = self.relay(stream, absent).await?;
        let tee = Tee::new(&self.name, recording, relay, &self.backend);
        Ok(Box::new(tee))
    }

    async fn relay(&self, stream: StreamInfo, absent: Absent) -> Result<Box<dyn Link>, OpenError> {
        match &self.backend.on_loss {
            OnLoss::Hold(hold) if stream.greeting.is_some() => {
                let held = Held::open(self.clone(), hold, stream, absent).await?;
                Ok(Box::new(held))
            }
            OnLoss::Hold(_) | OnLoss::Fail => Ok(Box::new(self.dial(&stream, 0).await?)),
        }
    }

    /// A new connection, for a stream from this byte of its audio on.
    pub(super) async fn dial(&self, stream: &StreamInfo, from: u64) -> Result<Relay, OpenError> {
        let backend = &*self.backend;
        let target = backend
            .url
            .expand(&stream.facts)
            .map_err(|error| OpenError::NoPlace {
                public: "this stream has no place at the upstream".to_owned(),
                detail: error.into(),
            })?;
        let Upgraded {
            transport,
            received,
            session,
        } = self.upgrade(&target, stream).await?;
        let (read, write) = split(transport);
        let reader = FrameReader::of_server(read, backend.max_message, received);
        let writer = FrameWriter::to_server(write);
        let socket = BackendSocket::new(reader, writer, backend.max_buffer);
        let Some(greeting) = &stream.greeting else {
            return Ok(Relay::plain(socket, backend, session));
        };
        let mut opening = Opening::begin(socket, greeting, backend);
        if let Err(error) = opening.answered(backend.replies).await {
            opening.socket.part();
            return Err(error);
        }
        Ok(Relay::ingest(
            opening,
            backend,
            stream.receipts,
            from,
            session,
        ))
    }

    /// Upgrades a connection to the first address that takes it.
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
                Err(Failure {
                    public,
                    fault,
                    detail,
                }) => {
                    match fault {
                        Fault::Stream => {
                            drop(attempt.succeeded());
                            return Err(OpenError::unavailable(REFUSED, detail));
                        }
                        Fault::Address => attempt.failed(Failed::Unreached, rest),
                        Fault::Answer => attempt.failed(Failed::Answer, rest),
                        Fault::Gateway => drop(attempt),
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
            let detail = anyhow!("it keeps failing, and is left alone for {:?}", rest.lasts);
            OpenError::unavailable(UNREACHABLE, self.at(detail))
        }))
    }

    async fn upgrade_at(
        &self,
        address: &Address,
        target: &str,
        stream: &StreamInfo,
    ) -> Result<(Transport, BytesMut), Failure> {
        let at = |detail: anyhow::Error| {
            let Address { host, port, .. } = address;
            detail.context(format!("the backend {host}:{port}"))
        };
        let request = || request::Request::new(&self.backend, target, stream);
        if let Some(mut transport) = self.pool.take(address)
            && let Ok(received) = self.bounded(request().upgrade(&mut transport)).await
        {
            return Ok((transport, received));
        }
        // One that waited too long may be dead all the same, and says nothing
        // about its backend.
        let connecting = self.bounded(self.connect(address));
        let mut transport = connecting.await.map_err(|error| Failure {
            public: UNREACHABLE,
            fault: Fault::of_connecting(&error),
            detail: at(error),
        })?;
        let received = self.bounded(request().upgrade(&mut transport)).await;
        let received = received.map_err(|error| Failure {
            public: REFUSED,
            fault: Fault::of_asking(&error),
            detail: at(error),
        })?;
        Ok((transport, received))
    }

    async fn connect(&self, address: &Address) -> anyhow::Result<Transport> {
        let Address { host, port, .. } = address;
        let found = resolve::lookup(host, *port).await;
        let found = found.context("its name is not known")?;
        let tcp = TcpStream::connect(&*found).await?;
        // Audio waits for nobody's acknowledgement.
        tcp.set_nodelay(true)?;
        match &self.backend.trust {
            // Whoever listens there has to be who the URL says.
            Some(trust) => trust.secure(tcp, self.backend.url.host_and_port().0).await,
            None => Ok(Transport::plain(tcp)),
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

    /// Makes the connections that the next streams will need.
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

    /// Names the backend to the operator, without what may tell of a client.
    fn at(&self, detail: anyhow::Error) -> anyhow::Error {
        detail.context(format!("the backend {}", self.backend.url.authority()))
    }
}

/// What a backend that is not there means for a stream that is about to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// The stream is refused.
    Refuses,
    /// It begins all the same, because it is recorded.
    IsWaitedFor,
}
