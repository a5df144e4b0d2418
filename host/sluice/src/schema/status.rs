//! The gateway as a whole.

use serde::{Deserialize, Serialize};

use super::{Generation, KeySet, UncleanStop};
use policy::recorder::RecordState;

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
    /// How much the gateway can take.
    pub capacity: Capacity,
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
    /// Certificates of the listeners.
    pub certificates: Vec<Certificate>,
    /// The record of decisions.
    pub decision_record: DecisionRecord,
    /// Options that differ from those of the start, and take effect after a restart.
    pub needs_restart: Vec<String>,
    /// Unclean stop of the gateway before this one, if there was one.
    pub unclean_stop: Option<UncleanStop>,
    /// The start or the latest reload.
    pub last_reload: Generation,
    /// What is shared with other gateways; `null` without `[cluster]`.
    pub cluster: Option<ClusterStatus>,
}

/// What a gateway shares with others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Whether there is a connection to NATS.
    pub connected: bool,
    /// Time when the connection was made or lost; at first, the time of the start.
    pub since: String,
    /// `held`, `lapsed` if it was not renewed for too long, or `none`.
    pub lease: String,
    /// Time since the latest renewal of the lease, in milliseconds.
    pub lease_age_ms: Option<u64>,
    /// Writes that NATS has not acknowledged yet.
    pub pending_writes: u64,
    /// Gateways that have a lease, this one among them.
    pub gateways: Vec<ClusterGateway>,
    /// Time when they were read.
    pub gateways_seen: Option<String>,
}

/// Gateway that has a lease.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterGateway {
    /// Id of its run.
    pub instance: String,
    /// Name of its machine.
    pub host: String,
    /// Its version.
    pub version: String,
    /// `held` or `ended`.
    pub lease: String,
    /// Time of the latest renewal, by the clock of NATS.
    pub renewed: String,
    /// Its live connections and parked streams.
    pub sessions: u64,
    /// Exclusive claims that they hold.
    pub claims: u64,
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

/// How much the gateway can take.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Connections that can be admitted at once.
    pub connections_limit: u64,
    /// Streams that can be parked at once.
    pub parked_limit: u64,
    /// Bytes that connections may make the gateway hold.
    pub memory_limit_bytes: u64,
    /// Open file descriptors of the process.
    pub open_descriptors: Option<u64>,
    /// Limit of open file descriptors.
    pub descriptors_limit: Option<u64>,
}

/// Certificate of a listener.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// `clients` or `admin`.
    pub listener: String,
    /// Time when it expires; `null` if it does not say.
    pub expires: Option<String>,
    /// Time when the first of the revocation lists for certificates of clients expires.
    pub revocation_list_expires: Option<String>,
}

/// The record of decisions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// `off`, `written`, or `failing` if the latest attempt to write to it failed.
    pub state: String,
    /// Why that failed.
    pub error: Option<String>,
    /// Decisions that were made and not recorded, since the start.
    pub unrecorded: u64,
}

impl DecisionRecord {
    /// State of a recorder; `None` if decisions are not recorded.
    #[must_use]
    pub(crate) fn of(state: Option<RecordState>) -> Self {
        let word = match &state {
            None => "off",
            Some(RecordState { error: None, .. }) => "written",
            Some(RecordState { error: Some(_), .. }) => "failing",
        };
        let state = state.unwrap_or_default();
        Self {
            state: word.to_owned(),
            error: state.error,
            unrecorded: state.unrecorded,
        }
    }
}
