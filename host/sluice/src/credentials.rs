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

    /// Times when the certificates expire, in seconds since 1970, by listener.
    pub(crate) fn expiries(&self) -> Vec<(&'static str, u64)> {
        let listeners = [("clients", &self.clients), ("admin", &self.admin)];
        let listeners = listeners.into_iter();
        listeners
            .filter_map(|(name, acceptor)| Some((name, acceptor.as_ref()?.expires()?)))
            .collect()
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
