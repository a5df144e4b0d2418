//! TLS of the main listener. [`client`] has the TLS of outgoing connections.

use std::sync::Arc;

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
}

impl Certificate {
    /// Reads certificate and key. `None` if there are mistakes, which go to `diagnostics`. Blocks.
    pub fn read(tls: &Tls, diagnostics: &mut Diagnostics) -> Option<Self> {
        let clients = match clients::verifier(tls.clients.as_ref()) {
            Ok(clients) => clients,
            Err(error) => {
                let message = format!("certificates of clients cannot be verified: {error:#}");
                diagnostics.error(&tls.place, message, clients::HELP);
                return None;
            }
        };
        match files::read(tls, clients) {
            Ok((config, expires, doubts)) => {
                for doubt in doubts {
                    let help = "give the server's own certificate first, then each behind the one \
                                that it has signed; the root may be left out";
                    diagnostics.warning(&tls.place, doubt, help);
                }
                Some(Self {
                    config: Arc::new(config),
                    expires,
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

    /// Acceptor for one new connection.
    #[must_use]
    pub fn current(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.load().config))
    }
}
