//! Certificates and tokens of the listeners, which a reload replaces.

use std::sync::Arc;

use arc_swap::ArcSwap;

use base::diagnostics::Diagnostics;
use base::tls::{Acceptor, Certificate};
use config::{AdminTokens, Config};

/// Certificates and tokens of the listeners. Cheap to clone.
#[derive(Clone)]
pub struct ListenerCredentials {
    /// Certificate of the listeners for clients, if they speak TLS.
    pub clients: Option<Acceptor>,
    /// Certificate of the admin listener, if it speaks TLS.
    pub admin: Option<Acceptor>,
    /// Tokens of the admin listener.
    pub admin_tokens: Arc<ArcSwap<AdminTokens>>,
}

/// Certificate of a listener. Times are in seconds since 1970.
pub(crate) struct ListenerCertificate {
    /// `clients` or `admin`.
    pub(crate) listener: &'static str,
    /// Time when it expires, if it says so.
    pub(crate) expires: Option<u64>,
    /// Time when the first of the revocation lists for certificates of clients expires.
    pub(crate) list_expires: Option<u64>,
}

/// Credentials of a new configuration, which are not used yet.
pub(crate) struct NewCredentials {
    clients: Option<Certificate>,
    admin: Option<Certificate>,
    admin_tokens: AdminTokens,
}

impl NewCredentials {
    /// Reads the certificates of a configuration. Mistakes go to `diagnostics`. Blocks.
    pub(crate) fn read(config: &config::Server, diagnostics: &mut Diagnostics) -> Self {
        let mut read = |tls: &Option<_>| Certificate::read(tls.as_ref()?, diagnostics);
        Self {
            clients: read(&config.tls),
            admin: read(&config.admin.tls),
            admin_tokens: config.admin.tokens.clone(),
        }
    }
}

impl ListenerCredentials {
    /// Reads those of the first configuration. Mistakes go to `diagnostics`. Blocks.
    pub(crate) fn read(config: &Config, diagnostics: &mut Diagnostics) -> Self {
        let new = NewCredentials::read(&config.server, diagnostics);
        Self {
            clients: new.clients.map(Acceptor::new),
            admin: new.admin.map(Acceptor::new),
            admin_tokens: Arc::new(ArcSwap::from_pointee(new.admin_tokens)),
        }
    }

    /// Certificates of the listeners that speak TLS.
    pub(crate) fn certificates(&self) -> Vec<ListenerCertificate> {
        let listeners = [("clients", &self.clients), ("admin", &self.admin)];
        let certificates = listeners.into_iter().filter_map(|(listener, acceptor)| {
            let acceptor = acceptor.as_ref()?;
            Some(ListenerCertificate {
                listener,
                expires: acceptor.expires(),
                list_expires: acceptor.list_expires(),
            })
        });
        certificates.collect()
    }

    /// Replaces them for new connections and requests. A listener that has spoken plain TCP, or
    /// TLS, goes on so until a restart.
    pub(crate) fn replace(&self, new: NewCredentials) {
        for (acceptor, certificate) in [(&self.clients, new.clients), (&self.admin, new.admin)] {
            if let (Some(acceptor), Some(certificate)) = (acceptor, certificate) {
                acceptor.replace(certificate);
            }
        }
        self.admin_tokens.store(Arc::new(new.admin_tokens));
    }
}
