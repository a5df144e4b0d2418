//! The other side of TLS: connecting to somebody who speaks it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Whose word is taken for who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorities {
    /// Those that are installed on this machine.
    Platform,
    /// Those in this file, in PEM, and no others.
    File(PathBuf),
}

/// Authorities that were read.
pub struct Roots {
    store: RootCertStore,
    /// Certificates of the file that are damaged or no authority's, and are not used.
    pub passed_over: usize,
}

impl Roots {
    /// Reads them. Blocks as files do.
    ///
    /// # Errors
    /// Where there are none that can be used.
    pub fn read(authorities: &Authorities) -> anyhow::Result<Self> {
        match authorities {
            Authorities::Platform => platform(),
            Authorities::File(file) => from_file(file)
                .with_context(|| format!("the certificate authorities in {}", file.display())),
        }
    }

    /// Speaks TLS to servers whose certificates these authorities have signed.
    ///
    /// # Errors
    /// Where the cryptography is not there.
    pub fn connector(self) -> anyhow::Result<TlsConnector> {
        Ok(TlsConnector::from(Arc::new(self.config()?)))
    }

    /// What a TLS client needs to speak HTTP/1.1 with such servers.
    ///
    /// # Errors
    /// As [`Roots::connector`].
    pub fn config(self) -> anyhow::Result<ClientConfig> {
        trusting(self.store)
    }
}

/// [`Roots::config`], for these authorities; without any, for no server at all.
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

fn platform() -> anyhow::Result<Roots> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // Some machines have ancient ones among them, which nobody needs.
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

/// One certificate that cannot be used is no reason to do without the others.
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
