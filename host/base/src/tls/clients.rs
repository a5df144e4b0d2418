//! Verification of the certificates that clients show.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateRevocationListDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;

use super::expiry::next_update;
use super::files::certificates;
use super::settings::{ClientCertificates, ClientDemand};
use crate::files::{pem, text};

/// Instruction for an operator whose files cannot be used.
pub(super) const HELP: &str = "give the certificates of the authorities that sign those of clients, \
                               and their revocation lists, both in PEM";

/// Verification of certificates of clients.
pub(super) struct Clients {
    /// Verifier of their certificates, or of none.
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Time when the first of the revocation lists expires, in seconds since 1970.
    pub(super) list_expires: Option<u64>,
}

/// Reads what certificates of clients are verified with. Blocks.
pub(super) fn read(settings: Option<&ClientCertificates>) -> anyhow::Result<Clients> {
    let Some(settings) = settings else {
        return Ok(Clients {
            verifier: WebPkiClientVerifier::no_client_auth(),
            list_expires: None,
        });
    };
    let mut list_expires = None;
    let roots = authorities(&settings.authorities)
        .with_context(|| format!("client authorities {}", settings.authorities.display()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(file) = &settings.revoked {
        let lists = lists(file).with_context(|| format!("revocation lists {}", file.display()))?;
        list_expires = lists.iter().filter_map(|list| next_update(list)).min();
        builder = builder
            .with_crls(lists)
            // The authorities themselves are the operator's choice.
            .only_check_end_entity_revocation()
            // Whoever holds a list back must not keep a revoked certificate in use.
            .enforce_revocation_expiration();
    }
    let builder = match settings.demand {
        ClientDemand::Optional => builder.allow_unauthenticated(),
        ClientDemand::Required => builder,
    };
    let verifier = builder
        .build()
        .context("the client authorities and their revocation lists cannot be used")?;
    Ok(Clients {
        verifier,
        list_expires,
    })
}

/// All of the authorities in a file. One that is left out would be a client that is refused.
fn authorities(file: &Path) -> anyhow::Result<RootCertStore> {
    let (certificates, broken) = certificates(file)?;
    ensure!(broken == 0, "{broken} of its certificates are damaged");
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        store.add(certificate).context("one of its certificates")?;
    }
    Ok(store)
}

fn lists(file: &Path) -> anyhow::Result<Vec<CertificateRevocationListDer<'static>>> {
    let bytes = std::fs::read(file)?;
    ensure!(!pem::is_der(&bytes), "it is DER, and not PEM");
    let blocks = pem::blocks(&text::decode(bytes)?);
    let labels = pem::labels(&blocks);
    let mut lists = Vec::new();
    for block in blocks.into_iter().filter(|block| block.label == "X509 CRL") {
        lists.push(CertificateRevocationListDer::from(block.der?));
    }
    ensure!(
        !lists.is_empty(),
        "it has no revocation list in PEM, but: {labels}"
    );
    Ok(lists)
}
