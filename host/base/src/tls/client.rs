//! TLS of outgoing connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Certificate authorities that are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// Authorities that are installed on this machine.
    Platform,
    /// Only the authorities in this file, in PEM.
    File(PathBuf),
}

/// Certificate that a client shows to servers, and its key. Both are PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, with its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Certificates of trusted authorities.
pub struct Roots {
    store: RootCertStore,
    /// Number of certificates in the file that are damaged or no authority's, and are skipped.
    pub passed_over: usize,
}

impl Roots {
    /// Reads the certificates. Blocks.
    ///
    /// # Errors
    /// If none of them can be used.
    pub fn read(authorities: &Authorities) -> anyhow::Result<Self> {
        match authorities {
            Authorities::Platform => platform(),
            Authorities::File(file) => from_file(file)
                .with_context(|| format!("the certificate authorities in {}", file.display())),
        }
    }

    /// No authorities: no server is trusted.
    #[must_use]
    pub fn none() -> Self {
        Self {
            store: RootCertStore::empty(),
            passed_over: 0,
        }
    }

    /// TLS client for servers whose certificates these authorities have signed.
    ///
    /// # Errors
    /// If the cryptography library lacks an algorithm.
    pub fn connector(self) -> anyhow::Result<TlsConnector> {
        Ok(TlsConnector::from(Arc::new(self.config()?)))
    }

    /// TLS client settings for such servers, with no protocol above TLS, and with the certificate
    /// that the client shows.
    ///
    /// # Errors
    /// As [`Roots::connector`], or if the certificate and its key cannot be used.
    pub fn config_as(self, identity: Option<&Identity>) -> anyhow::Result<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.store);
        let Some(Identity { certificate, key }) = identity else {
            return Ok(config.with_no_client_auth());
        };
        let (chain, key) = super::files::identity(certificate, key)?;
        Ok(config.with_client_auth_cert(chain, key)?)
    }

    /// TLS client settings for HTTP/1.1 with such servers.
    ///
    /// # Errors
    /// As [`Roots::connector`].
    pub fn config(self) -> anyhow::Result<ClientConfig> {
        trusting(self.store)
    }
}

/// [`Roots::config`] for these certificates. Without any, no server is trusted.
///
/// # Errors
/// If the cryptography library lacks an algorithm.
pub fn trusting(roots: RootCertStore) -> anyhow::Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A WebSocket upgrade is HTTP/1.1 (RFC 6455, section 1.7).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn platform() -> anyhow::Result<Roots> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // Unusable ones are skipped: some machines have ancient certificates that nothing needs.
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})"));
        anyhow::bail!(
            "no certificate authorities are installed on this machine{}",
            why.unwrap_or_default()
        );
    }
    Ok(Roots {
        store,
        passed_over: 0,
    })
}

/// Reads a file of certificates. One that cannot be used does not affect the others.
fn from_file(file: &Path) -> anyhow::Result<Roots> {
    let (certificates, broken) = super::certificates(file)?;
    let mut store = RootCertStore::empty();
    let (_, ignored) = store.add_parsable_certificates(certificates);
    anyhow::ensure!(
        !store.is_empty(),
        "there is no certificate in it that can be read"
    );
    Ok(Roots {
        store,
        passed_over: broken + ignored,
    })
}
