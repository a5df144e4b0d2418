//! The byte stream to a backend, with TLS or without.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use base::tls::client::Roots;

/// What is read from.
pub(super) type Reading = ReadHalf<Transport>;
/// What is written to.
pub(super) type Writing = WriteHalf<Transport>;

/// A connection to a backend.
pub(super) enum Transport {
    Plain(TcpStream),
    Secured(Box<TlsStream<TcpStream>>),
}

impl Transport {
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self::Plain(tcp)
    }
}

/// Whose word is taken for who a backend is.
#[derive(Clone)]
pub struct Trust(TlsConnector);

impl Trust {
    /// Trusts these authorities.
    ///
    /// # Errors
    /// Where the cryptography is not there.
    pub fn new(authorities: Roots) -> anyhow::Result<Self> {
        authorities.connector().map(Self)
    }

    /// Proves that the backend is who it is called.
    pub(super) async fn secure(&self, tcp: TcpStream, host: &str) -> anyhow::Result<Transport> {
        let name = ServerName::try_from(host.to_owned())?;
        let stream = self.0.connect(name, tcp).await.context("TLS")?;
        Ok(Transport::Secured(Box::new(stream)))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust(..)")
    }
}

impl AsyncRead for Transport {
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

impl AsyncWrite for Transport {
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
