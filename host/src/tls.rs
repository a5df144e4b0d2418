//! TLS: on the main listener, and in `client` towards others.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Diagnostics, Tls};

pub mod client;
pub mod failure;

/// Reads certificate and key. Mistakes go to `diagnostics`, and there is
/// nothing to accept with then.
pub fn acceptor(tls: &Tls, diagnostics: &mut Diagnostics) -> Option<TlsAcceptor> {
    match read(&tls.certificate, &tls.key) {
        Ok(acceptor) => Some(acceptor),
        Err(error) => {
            diagnostics.error(
                &tls.place,
                format!("TLS cannot be served: {error:#}"),
                "give a certificate chain and the private key of its first certificate, both in PEM",
            );
            None
        }
    }
}

fn read(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("certificate {}", certificate.display()))?;
    anyhow::ensure!(
        !chain.is_empty(),
        "certificate {} has no certificate in it",
        certificate.display()
    );
    let private =
        PrivateKeyDer::from_pem_file(key).with_context(|| format!("key {}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .context("certificate and key do not fit")?;
    // A WebSocket upgrade is HTTP/1.1 (RFC 6455, section 1.7).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
