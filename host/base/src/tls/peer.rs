//! What is known of a client by the certificate that it has shown.

use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::expiry::element;
use crate::text;

/// Maximum length of a text that is taken from a certificate, in bytes.
const MAX_TEXT: usize = 1024;

/// Types of the parts of a name (RFC 4514, section 3), by the end of their OID 2.5.4.
const PARTS: [(u8, &str); 6] = [
    (3, "CN"),
    (6, "C"),
    (7, "L"),
    (8, "ST"),
    (10, "O"),
    (11, "OU"),
];

/// Verified certificate of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-256 of the certificate, in hexadecimal.
    pub sha256: String,
    /// Name of its issuer, such as `O=Example, CN=Example CA`.
    pub issuer: String,
    /// Names of its subject: `DNS:a.example, URI:spiffe://example/a`.
    pub names: String,
}

impl ClientCertificate {
    /// Reads a certificate that was verified.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let (issuer, names) = match webpki::EndEntityCert::try_from(certificate) {
            Ok(parsed) => {
                let dns = parsed.valid_dns_names().map(|name| format!("DNS:{name}"));
                let uris = parsed.valid_uri_names().map(|name| format!("URI:{name}"));
                let names: Vec<_> = dns.chain(uris).collect();
                (name(parsed.issuer()), names.join(", "))
            }
            Err(_) => (String::new(), String::new()),
        };
        Self {
            sha256: text::hex(&Sha256::digest(certificate)),
            issuer: text::clean(&issuer, MAX_TEXT),
            names: text::clean(&names, MAX_TEXT),
        }
    }
}

/// A name as text. Parts of other types are left out.
fn name(mut sets: &[u8]) -> String {
    let mut parts = Vec::new();
    while let Some((_, set, rest)) = element(sets) {
        sets = rest;
        let part = element(set).and_then(|(_, pair, _)| {
            let (_, oid, rest) = element(pair)?;
            let (_, value, _) = element(rest)?;
            let [0x55, 4, last] = oid else {
                return None;
            };
            let (_, word) = PARTS.iter().find(|(number, _)| number == last)?;
            let value = String::from_utf8_lossy(value);
            Some(format!("{word}={}", value.replace([',', '=', '\\'], "_")))
        });
        parts.extend(part);
    }
    parts.join(", ")
}
