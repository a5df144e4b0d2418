//! The certificate that clients are served with.

use std::path::PathBuf;

use crate::diagnostics::Place;

/// `[server]`: `tls_certificate` and `tls_key`, which come together.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The chain in PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
    /// Where the certificate stands in the file.
    pub place: Place,
}
