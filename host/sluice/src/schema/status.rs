//! The gateway as a whole.

use serde::{Deserialize, Serialize};

use super::{Generation, KeySet, UncleanStop};

/// Answer of `GET /status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the gateway.
    pub version: String,
    /// Time of the start.
    pub started: String,
    /// Time since the start, in milliseconds.
    pub uptime_ms: u64,
    /// Number of the generation that serves newcomers.
    pub generation: u64,
    /// Whether the gateway drains, and refuses newcomers.
    pub draining: bool,
    /// Checks of `/readyz`: clients may be sent here if none has a reason.
    pub checks: Vec<Check>,
    /// Connections and streams.
    pub connections: Connections,
    /// Exclusive claims that are held.
    pub claims: u64,
    /// Bytes that connections make the gateway hold.
    pub memory_held_bytes: u64,
    /// Refusals that `GET /refusals` can show.
    pub refusals_kept: u64,
    /// Key sets whose file is missing or unreadable.
    pub missing_keys: Vec<String>,
    /// Key sets, with the state of their keys.
    pub key_sets: Vec<KeySet>,
    /// Options that differ from those of the start, and take effect after a restart.
    pub needs_restart: Vec<String>,
    /// Unclean stop of the gateway before this one, if there was one.
    pub unclean_stop: Option<UncleanStop>,
    /// The start or the latest reload.
    pub last_reload: Generation,
}

/// A check of `/readyz`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What is checked.
    pub name: String,
    /// Why it failed; `null` if it is fine.
    pub reason: Option<String>,
}

impl Check {
    /// Result of a check.
    #[must_use]
    pub(crate) fn of(name: &str, reason: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            reason,
        }
    }
}

/// Numbers of connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// Connections between their 101 and the end of their socket.
    pub live: u64,
    /// Of those, connections that stream.
    pub streaming: u64,
    /// Streams that wait for their clients.
    pub parked: u64,
}
