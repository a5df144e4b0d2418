//! What has changed since the start: generations, and reloads that changed nothing.

use serde::{Deserialize, Serialize};

/// Answer of `GET /generations`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Generations {
    /// The latest starts and reloads, the latest first.
    pub generations: Vec<Generation>,
}

/// The start, or a reload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Number of the generation that serves newcomers after it.
    pub generation: u64,
    /// Time of its end.
    pub at: String,
    /// `start`, `signal`, `request`, `file` or `poll`.
    pub trigger: String,
    /// `swapped`, or `refused` if nothing has changed.
    pub result: String,
    /// Duration, in milliseconds.
    pub took_ms: u64,
    /// Files whose content differs from that of the generation before.
    pub changed_files: Vec<String>,
    /// Sections, and options of sections, that were new. Of a reload that was refused, nothing is
    /// told here.
    pub added: Vec<String>,
    /// Sections and options that were gone.
    pub removed: Vec<String>,
    /// Options with another value, or with the same one written in another way.
    pub changed: Vec<String>,
    /// Options that differ from those of the start, and take effect after a restart.
    pub needs_restart: Vec<String>,
    /// SHA-256 of the configuration file; `null` for the built-in configuration.
    pub file_sha256: Option<String>,
    /// Beginning of the report, if it was refused.
    pub report: Option<String>,
}
