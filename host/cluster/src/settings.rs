//! Settings of the connection to NATS: `[cluster]`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::secret::Secret;
use base::tls::client::{Authorities, Identity, Roots};
use tokio_rustls::rustls::ClientConfig;

/// `[cluster]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// URLs of the servers: `nats://host:port` or `tls://host:port`, without credentials.
    pub servers: Vec<String>,
    /// How the gateway proves who it is.
    pub login: Login,
    /// TLS, if it is required.
    pub tls: Option<Tls>,
    /// Number of servers that keep each message.
    pub replicas: usize,
    /// First part of the names of all subjects and streams.
    pub prefix: String,
    /// Time limit of one request.
    pub timeout: Duration,
}

/// How the gateway proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// It does not, or by its certificate.
    None,
    /// Content of a credentials file of NATS: a JWT, and the seed of a key.
    Credentials(Secret),
    /// User and password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
}

/// TLS to the servers.
#[derive(Clone)]
pub struct Tls {
    authorities: Authorities,
    identity: Option<Identity>,
    pub(crate) config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the certificates. Blocks. Returns the number of authorities that are skipped because
    /// they are damaged as well.
    ///
    /// # Errors
    /// If the certificates cannot be used.
    pub fn read(
        authorities: Authorities,
        identity: Option<(PathBuf, PathBuf)>,
    ) -> anyhow::Result<(Self, usize)> {
        let roots = Roots::read(&authorities)?;
        let passed_over = roots.passed_over;
        let identity = identity.map(|(certificate, key)| Identity { certificate, key });
        let config = Arc::new(roots.config_as(identity.as_ref())?);
        let tls = Self {
            authorities,
            identity,
            config,
        };
        Ok((tls, passed_over))
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.authorities == other.authorities && self.identity == other.identity
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authorities", &self.authorities)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
