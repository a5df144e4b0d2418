//! Connecting: TCP, TLS if the URL asks for it, and the upgrade, with messages for each failure.

use std::io;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{CertificateError, Error as TlsError};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_util::either::Either;

use super::target::{ConnectionSecurity, Target};
use base::text::clean;
use base::tls;

/// WebSocket with or without TLS.
type Socket = WebSocketStream<Either<TcpStream, TlsStream<TcpStream>>>;

/// TLS client for the target; `None` for a target without TLS.
pub(super) fn connector(target: &Target) -> anyhow::Result<Option<TlsConnector>> {
    match target.security() {
        ConnectionSecurity::Plain => Ok(None),
        ConnectionSecurity::Tls(authorities) => tls::client::Roots::read(authorities)
            .and_then(tls::client::Roots::connector)
            .context("TLS needs certificate authorities to trust, which --ca FILE can name")
            .map(Some),
    }
}

pub(super) async fn open(
    target: &Target,
    connector: Option<TlsConnector>,
    request: Request,
) -> anyhow::Result<Socket> {
    let unreached = || format!("could not connect to {target}");
    let stream = TcpStream::connect((target.host(), target.port()))
        .await
        .with_context(|| format!("{} (is a gateway listening there?)", unreached()))?;
    // Nagle's algorithm would delay the small messages of audio.
    stream.set_nodelay(true).with_context(unreached)?;
    let stream = match connector {
        None => Either::Left(stream),
        Some(connector) => {
            let name = ServerName::try_from(target.host().to_owned())
                .with_context(|| format!("{target} has no name that a certificate could have"))?;
            match connector.connect(name, stream).await {
                Ok(stream) => Either::Right(stream),
                Err(error) => return Err(explain_tls(target, &error)),
            }
        }
    };
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(explain(target, error)),
    }
}

fn explain_tls(target: &Target, error: &io::Error) -> anyhow::Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    let advice = match cause {
        Some(TlsError::InvalidCertificate(
            // A wrong authority of the same name fails with a bad signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => "; the authority that signed it is not trusted here: name it with --ca FILE",
        // Error for the certificates that `openssl req -x509` makes by default.
        Some(TlsError::InvalidCertificate(CertificateError::Other(other)))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            "; it is the certificate of an authority (CA:TRUE), and a server needs one with CA:FALSE"
        }
        Some(TlsError::InvalidMessage(_)) => "; does it speak TLS at all? if not, use ws://",
        _ => "",
    };
    anyhow::anyhow!("TLS with {target} failed: {error}{advice}")
}

fn explain(target: &Target, error: tungstenite::Error) -> anyhow::Error {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response
                .body()
                .as_deref()
                .map(String::from_utf8_lossy)
                .unwrap_or_default();
            let body = clean(body.trim(), 200);
            let said = if body.is_empty() {
                String::new()
            } else {
                format!(": {body}")
            };
            anyhow::anyhow!(
                "{target} answered HTTP {} instead of opening a WebSocket{said}",
                response.status()
            )
        }
        tungstenite::Error::Io(error) => {
            anyhow::Error::new(error).context(format!("the connection to {target} was lost"))
        }
        // The text of the error includes its causes.
        error => anyhow::anyhow!("{target} did not open a WebSocket: {error}"),
    }
}
