//! Certificate authority for tests.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tempfile::TempDir;

use crate::config::Config;

/// Authority, with one certificate for 127.0.0.1.
pub struct Authority {
    folder: TempDir,
    client: Arc<ClientConfig>,
}

impl Authority {
    /// New authority, which no client trusts yet.
    ///
    /// # Panics
    /// If its files cannot be written.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let names = &mut params.distinguished_name;
        names.push(DnType::CommonName, "an authority for tests");
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
            .and_then(|params| params.signed_by(&key, &authority))
            .expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        for (name, pem) in [
            ("ca.pem", authority.pem()),
            ("cert.pem", certificate.pem()),
            ("key.pem", key.serialize_pem()),
        ] {
            std::fs::write(folder.path().join(name), pem).expect("room for a file");
        }
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("a root");
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            folder,
            client: Arc::new(client),
        }
    }

    /// File with the authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// File with the certificate for 127.0.0.1.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// File with the private key of the certificate.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// `config` with the certificate.
    #[must_use]
    pub fn secure(&self, config: Config) -> Config {
        config
            .set("server", "tls_certificate", json!(self.certificate()))
            .set("server", "tls_key", json!(self.key()))
    }

    /// Replaces the certificate and key of another authority by its own, atomically each.
    ///
    /// # Panics
    /// If that is not possible.
    pub fn give_to(&self, other: &Self) {
        for (source, target) in [
            (self.certificate(), other.certificate()),
            (self.key(), other.key()),
        ] {
            let aside = target.with_extension("new");
            std::fs::copy(source, &aside).expect("room for a file");
            std::fs::rename(aside, target).expect("a file");
        }
    }

    /// TLS client that trusts only this authority.
    pub fn client(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
