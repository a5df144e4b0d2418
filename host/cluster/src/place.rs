//! Where a chain is.

use serde::{Deserialize, Serialize};

/// Where a chain is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Stream of `JetStream`.
    pub space: String,
    /// Subject.
    pub subject: String,
}
