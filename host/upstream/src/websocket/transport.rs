//! Byte stream to a backend, with or without TLS.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use base::tls::client::Roots;

/// Read half of a transport.
pub(super) type Reading = ReadHalf<BackendTransport>;
/// Write half of a transport.
pub(super) type Writing = WriteHalf<BackendTransport>;

/// Connection to a backend.
pub(super) enum BackendTransport {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

impl BackendTransport {
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self::Plain(tcp)
    }

    /// Address of the backend; `None` if the connection is gone.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Secured(tls) => tls.get_ref().0,
        };
        tcp.peer_addr().ok()
    }
}

/// TLS settings for backends: which certificate authorities are trusted.
#[derive(Clone)]
pub struct Trust(TlsConnector);

impl Trust {
    /// Trusts these authorities.
    ///
    /// # Errors
    /// If the cryptography library lacks an algorithm.
    pub fn new(authorities: Roots) -> anyhow::Result<Self> {
        authorities.connector().map(Self)
    }

    /// Performs the TLS handshake, in which the backend proves its name.
    pub(super) async fn secure(
        &self,
        tcp: TcpStream,
        host: &str,
    ) -> anyhow::Result<BackendTransport> {
        let name = ServerName::try_from(host.to_owned())?;
        let stream = self.0.connect(name, tcp).await.context("TLS")?;
        Ok(BackendTransport::Secured(Box::new(stream)))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust(..)")
    }
}

impl AsyncRead for BackendTransport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Secured(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for BackendTransport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Secured(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secured(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secured(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
