//! The files of a server's certificate and key, and the mistakes in them.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::sign::SigningKey;

use super::expiry::not_after;
use super::settings::Tls;
use crate::files::pem::{self, Block, BlockError};
use crate::files::text;

const GENERAL: &str =
    "give a certificate chain and the private key of its first certificate, both in PEM";
const DER: &str = "convert it: `openssl x509 -inform der -in FILE -out FILE.pem` for a certificate, \
                   `openssl pkey -inform der -in FILE -out FILE.pem` for a key";

/// Reason why there is no certificate to show.
pub(super) struct Problem {
    pub(super) error: anyhow::Error,
    /// Instruction for the operator.
    pub(super) help: String,
}

impl<E: Into<anyhow::Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            help: GENERAL.to_owned(),
        }
    }
}

fn problem(error: impl std::fmt::Display, help: impl Into<String>) -> Problem {
    Problem {
        error: anyhow!("{error}"),
        help: help.into(),
    }
}

/// Settings of an HTTP/1.1 server with this certificate, the time when that expires, and warnings
/// about its chain.
#[allow(
    clippy::type_complexity,
    reason = "each is of another kind, and named above"
)]
pub(super) fn read(
    tls: &Tls,
    clients: Arc<dyn ClientCertVerifier>,
) -> Result<(ServerConfig, Option<u64>, Vec<String>), Problem> {
    let (certificate, key) = (tls.certificate.as_path(), tls.key.as_path());
    let (name, key_name) = (certificate.display(), key.display());
    let chain = chain(&name, blocks(certificate, "certificate")?)?;
    let (key, signing) = private_key(&key_name, blocks(key, "key")?, &chain)?;
    match position(&chain, &*signing) {
        Some(0) | None => {}
        Some(at) => {
            let place = at + 1;
            return Err(problem(
                format!(
                    "certificate {name} has its chain in the wrong order: the key belongs to the \
                     certificate in place {place}"
                ),
                "put the server's own certificate first, and each issuer behind the one it signed",
            ));
        }
    }
    let expires = chain.first().and_then(|own| not_after(own));
    let doubts = disorder(&chain)
        .map(|at| {
            format!(
                "certificate {name}: the one in place {at} was not signed by the one behind it, so \
                 that some clients will not find their way to an authority"
            )
        })
        .collect();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .with_context(|| format!("certificate and key do not fit, {name} and {key_name}"))?;
    // A WebSocket upgrade is HTTP/1.1 (RFC 6455, section 1.7).
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, expires, doubts))
}

/// A certificate chain and its private key, for a client that shows them.
///
/// # Errors
/// If one of them cannot be used.
pub(super) fn identity(
    certificate: &Path,
    key: &Path,
) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let read = || {
        let chain = chain(&certificate.display(), blocks(certificate, "certificate")?)?;
        let (key, _) = private_key(&key.display(), blocks(key, "key")?, &chain)?;
        Ok::<_, Problem>((chain, key))
    };
    read().map_err(|problem| problem.error)
}

/// The blocks of a PEM file, at least one.
fn blocks(file: &Path, what: &str) -> Result<Vec<Block>, Problem> {
    let name = || format!("{what} {}", file.display());
    let bytes = std::fs::read(file).with_context(name)?;
    if pem::is_der(&bytes) {
        return Err(problem(format!("{} is DER, and not PEM", name()), DER));
    }
    let text = text::decode(bytes).with_context(name)?;
    let blocks = pem::blocks(&text);
    if blocks.is_empty() {
        return Err(problem(format!("{} is not PEM", name()), GENERAL));
    }
    Ok(blocks)
}

fn is_certificate(label: &str) -> bool {
    matches!(label, "CERTIFICATE" | "X509 CERTIFICATE")
}

fn chain(
    name: &impl std::fmt::Display,
    blocks: Vec<Block>,
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let labels = pem::labels(&blocks);
    let mut chain = Vec::new();
    for block in blocks {
        if is_certificate(&block.label) {
            let place = chain.len() + 1;
            let der = block
                .der
                .with_context(|| format!("certificate {name}, the one in place {place}"))?;
            chain.push(CertificateDer::from(der));
        }
    }
    if chain.is_empty() {
        let help = if labels.contains("PRIVATE KEY") {
            "it may be that the options of certificate and key name each other's file"
        } else {
            GENERAL
        };
        let error = format!("certificate {name} has no certificate in it, but: {labels}");
        return Err(problem(error, help));
    }
    Ok(chain)
}

/// The key in a file that belongs to the chain, or the first key if none does.
fn private_key(
    name: &impl std::fmt::Display,
    blocks: Vec<Block>,
    chain: &[CertificateDer<'_>],
) -> Result<(PrivateKeyDer<'static>, Arc<dyn SigningKey>), Problem> {
    let labels = pem::labels(&blocks);
    let mut keys = Vec::new();
    for block in blocks {
        let make: fn(Vec<u8>) -> PrivateKeyDer<'static> = match block.label.as_str() {
            "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => {
                |der| PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der))
            }
            "RSA PRIVATE KEY" => |der| PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)),
            "EC PRIVATE KEY" => |der| PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der)),
            _ => continue,
        };
        let der = match block.der {
            Ok(der) => der,
            Err(error @ BlockError::Encrypted) => {
                let help = "decrypt it, `openssl pkey -in FILE -out NEW`, and let nobody but the \
                            gateway's user read the new file";
                return Err(problem(format!("key {name}: {error}"), help));
            }
            Err(error @ BlockError::Damaged) => {
                return Err(problem(format!("key {name}: {error}"), GENERAL));
            }
        };
        let key = make(der);
        let signing = aws_lc_rs::sign::any_supported_type(&key)
            .with_context(|| format!("key {name} is of no kind that can be used"))?;
        keys.push((key, signing));
    }
    let fitting = keys
        .iter()
        .position(|(_, signing)| position(chain, &**signing).is_some());
    if keys.is_empty() {
        let help = if labels.contains("CERTIFICATE") {
            "it may be that the options of certificate and key name each other's file".to_owned()
        } else if labels.contains("OPENSSH") {
            "convert it: `ssh-keygen -p -m pem -f FILE`".to_owned()
        } else {
            GENERAL.to_owned()
        };
        let error = format!("key {name} has no private key in it, but: {labels}");
        return Err(problem(error, help));
    }
    Ok(keys.swap_remove(fitting.unwrap_or_default()))
}

/// Position of the certificate that the key belongs to.
fn position(chain: &[CertificateDer<'_>], key: &dyn SigningKey) -> Option<usize> {
    let public = key.public_key()?;
    chain.iter().position(|certificate| {
        ParsedCertificate::try_from(certificate)
            .is_ok_and(|parsed| parsed.subject_public_key_info() == public)
    })
}

/// Positions, from 1, of the certificates that are not followed by their issuer's.
fn disorder(chain: &[CertificateDer<'_>]) -> impl Iterator<Item = usize> {
    let signed_by_next = |pair: &[CertificateDer<'_>]| match pair {
        [this, next] => {
            let parsed = webpki::EndEntityCert::try_from(this);
            let next = webpki::EndEntityCert::try_from(next);
            match (parsed, next) {
                (Ok(this), Ok(next)) => this.issuer() == next.subject(),
                // A certificate that cannot be parsed is taken for correct.
                _ => true,
            }
        }
        _ => true,
    };
    let pairs = chain.windows(2).enumerate();
    pairs.filter_map(move |(at, pair)| (!signed_by_next(pair)).then_some(at + 1))
}

/// The certificates in a file, and the number of its blocks that cannot be read.
///
/// # Errors
/// If the file cannot be read or has no certificate.
pub fn certificates(file: &Path) -> anyhow::Result<(Vec<CertificateDer<'static>>, usize)> {
    let bytes = std::fs::read(file)?;
    anyhow::ensure!(!pem::is_der(&bytes), "it is DER, and not PEM");
    let blocks = pem::blocks(&text::decode(bytes)?);
    let labels = pem::labels(&blocks);
    let found = blocks
        .into_iter()
        .filter(|block| is_certificate(&block.label));
    let (mut certificates, mut broken) = (Vec::new(), 0);
    for block in found {
        match block.der {
            Ok(der) => certificates.push(CertificateDer::from(der)),
            Err(_) => broken += 1,
        }
    }
    if certificates.is_empty() {
        let instead = match (broken, labels.as_str()) {
            (0, "") => String::new(),
            (0, labels) => format!(", but: {labels}"),
            (broken, _) => format!(", but {broken} that are damaged"),
        };
        anyhow::bail!("it contains no certificate in PEM{instead}");
    }
    Ok((certificates, broken))
}
