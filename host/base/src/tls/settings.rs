//! Settings of the certificate for clients, and of the certificates that clients show.

use std::path::PathBuf;

use crate::diagnostics::Place;

/// `[server]`: `tls_certificate` and `tls_key`. Both are set.
#[derive(Debug, Clone)]
pub struct Tls {
    /// File with the chain in PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// File with the private key in PEM.
    pub key: PathBuf,
    /// Certificates that clients show. `None`: they are not asked for one.
    pub clients: Option<ClientCertificates>,
    /// Position of the certificate option in the configuration file.
    pub place: Place,
}

/// `[server]`: `tls_client_ca` and its companions.
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    /// File with the authorities that sign certificates of clients, in PEM.
    pub authorities: PathBuf,
    /// File with the lists of revoked certificates of these authorities, in PEM.
    pub revoked: Option<PathBuf>,
    /// Whether a client without a certificate is served.
    pub demand: ClientDemand,
}

/// Whether a client without a certificate is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientDemand {
    /// It is. Policies see that it has none.
    Optional,
    /// It is not: its TLS handshake fails.
    Required,
}
