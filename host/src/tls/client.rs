//! The other side of TLS: connecting to somebody who speaks it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Whose word is taken for who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// Those that are installed on this machine.
    Platform,
    /// Those in this file, in PEM, and no others.
    File(PathBuf),
}

/// Speaks TLS to servers whose certificates these authorities have signed.
///
/// # Errors
/// Where there are none, or where one cannot be read.
pub fn connector(authorities: &Authorities) -> anyhow::Result<TlsConnector> {
    Ok(TlsConnector::from(Arc::new(config(authorities)?)))
}

/// What a TLS client needs to speak HTTP/1.1 with such servers.
///
/// # Errors
/// As [`connector`].
pub fn config(authorities: &Authorities) -> anyhow::Result<ClientConfig> {
    let roots = match authorities {
        Authorities::Platform => platform()?,
        Authorities::File(file) => from_file(file)
            .with_context(|| format!("the certificate authorities in {}", file.display()))?,
    };
    trusting(roots)
}

/// [`config`], for these authorities; without any, for no server at all.
///
/// # Errors
/// Where the cryptography is not there.
pub fn trusting(roots: RootCertStore) -> anyhow::Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A WebSocket upgrade is HTTP/1.1 (RFC 6455, section 1.7).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn platform() -> anyhow::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some machines have ancient ones among them, which nobody needs.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})"));
        anyhow::bail!(
            "no certificate authorities are installed on this machine{}",
            why.unwrap_or_default()
        );
    }
    Ok(roots)
}

fn from_file(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    anyhow::ensure!(!roots.is_empty(), "there is no certificate in PEM in it");
    Ok(roots)
}
