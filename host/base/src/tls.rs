//! TLS of the main listener. [`client`] has the TLS of outgoing connections.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use self::settings::Tls;
use crate::diagnostics::Diagnostics;

pub mod client;
mod clients;
mod expiry;
pub mod failure;
mod files;
pub mod peer;
pub mod settings;

pub use files::certificates;

/// Certificate chain with its key, ready to be shown to clients.
pub struct Certificate {
    config: Arc<ServerConfig>,
    expires: Option<u64>,
    list_expires: Option<u64>,
}

impl Certificate {
    /// Reads certificate and key. `None` if there are mistakes, which go to `diagnostics`. Blocks.
    pub fn read(tls: &Tls, diagnostics: &mut Diagnostics) -> Option<Self> {
        let clients = match clients::read(tls.clients.as_ref()) {
            Ok(clients) => clients,
            Err(error) => {
                let message = format!("certificates of clients cannot be verified: {error:#}");
                diagnostics.error(&tls.place, message, clients::HELP);
                return None;
            }
        };
        let list_expires = clients.list_expires;
        warn_of_old_list(list_expires, tls, diagnostics);
        match files::read(tls, clients.verifier) {
            Ok((config, expires, doubts)) => {
                for doubt in doubts {
                    let help = "give the server's own certificate first, then each behind the one \
                                that it has signed; the root may be left out";
                    diagnostics.warning(&tls.place, doubt, help);
                }
                Some(Self {
                    config: Arc::new(config),
                    expires,
                    list_expires,
                })
            }
            Err(problem) => {
                let message = format!("TLS cannot be served: {:#}", problem.error);
                diagnostics.error(&tls.place, message, problem.help);
                None
            }
        }
    }
}

/// Warns of a revocation list that has expired. It is no mistake: a gateway that did not start would
/// refuse everybody, and this one refuses those with certificates.
fn warn_of_old_list(expires: Option<u64>, tls: &Tls, diagnostics: &mut Diagnostics) {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    if expires.is_some_and(|expires| expires <= now.as_secs()) {
        let message = "a revocation list for certificates of clients has expired: the TLS handshakes \
                       of clients of its authority fail";
        let help = "put a new list of the authority into the file of `tls_client_crl`";
        diagnostics.warning(&tls.place, message, help);
    }
}

/// TLS server that uses the current certificate.
#[derive(Clone)]
pub struct Acceptor(Arc<ArcSwap<Certificate>>);

impl Acceptor {
    /// Server that begins with this certificate.
    #[must_use]
    pub fn new(certificate: Certificate) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(certificate)))
    }

    /// Replaces the certificate for new connections. Existing connections keep their keys.
    pub fn replace(&self, certificate: Certificate) {
        self.0.store(Arc::new(certificate));
    }

    /// Time when the current certificate expires, in seconds since 1970; `None` if it does not say.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        self.0.load().expires
    }

    /// Time when the first of the revocation lists for certificates of clients expires, in seconds
    /// since 1970; `None` if there is none.
    #[must_use]
    pub fn list_expires(&self) -> Option<u64> {
        self.0.load().list_expires
    }

    /// Acceptor for one new connection.
    #[must_use]
    pub fn current(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.load().config))
    }
}
