//! Certificate authority for tests.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tempfile::TempDir;

use crate::config::Config;

/// Authority, with one certificate for 127.0.0.1.
pub struct Authority {
    folder: TempDir,
    client: Arc<ClientConfig>,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// New authority, which no client trusts yet.
    ///
    /// # Panics
    /// If its files cannot be written.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
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
            issuer: authority,
        }
    }

    /// TLS client that trusts only this authority, and shows a certificate of this serial number
    /// that `issuer` has signed.
    ///
    /// # Panics
    /// If the certificate cannot be made.
    pub fn client_with(&self, issuer: &Self, serial: u64) -> Arc<ClientConfig> {
        let key = KeyPair::generate().expect("a key");
        let names = [SanType::URI(
            "spiffe://example/mac-1".try_into().expect("a URI"),
        )];
        let mut params = CertificateParams::new(["mac-1.example".to_owned()]).expect("a name");
        params.subject_alt_names.extend(names);
        params.serial_number = Some(serial.into());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params
            .signed_by(&key, &issuer.issuer)
            .expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");
        Arc::new(client)
    }

    /// The same authority's files, with a certificate for 127.0.0.1 that expires when this year begins.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn expiring_in(self, year: i32) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params =
            CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name for a certificate");
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        for (file, pem) in [
            (self.certificate(), certificate.pem()),
            (self.key(), key.serialize_pem()),
        ] {
            std::fs::write(file, pem).expect("room for a file");
        }
        self
    }

    /// List of revoked serial numbers, in PEM.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn revoked(&self, serials: &[u64]) -> String {
        self.revoked_until(serials, 2124)
    }

    /// List of revoked serial numbers that expires when this year begins, in PEM.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn revoked_until(&self, serials: &[u64], year: i32) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list");
        list.pem().expect("a list has a form")
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
