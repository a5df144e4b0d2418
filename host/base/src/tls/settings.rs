//! Settings of the certificate for clients.

use std::path::PathBuf;

use crate::diagnostics::Place;

/// `[server]`: `tls_certificate` and `tls_key`. Both are set.
#[derive(Debug, Clone)]
pub struct Tls {
    /// File with the chain in PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// File with the private key in PEM.
    pub key: PathBuf,
    /// Position of the certificate option in the configuration file.
    pub place: Place,
}
