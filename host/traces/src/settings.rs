//! Settings of traces.

use std::path::PathBuf;

use base::secret::Secret;

/// `[traces]`, if it names an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// URL of the collector's receiver for traces, with its path.
    pub endpoint: String,
    /// Headers of each request: lower-case names and values.
    pub headers: Vec<(String, Secret)>,
    /// Authorities that the collector's certificate is checked with; `None`: those of this machine.
    pub ca_file: Option<PathBuf>,
    /// Share of the traces that are recorded where the client has not decided, from 0 to 1.
    pub sample_ratio: f64,
    /// Whether the traces of clients are continued.
    pub continue_clients: bool,
    /// Resource attribute `service.name`.
    pub service_name: String,
    /// Further attributes of the resource.
    pub attributes: Vec<(String, String)>,
}
