//! Unclean stop of the gateway before this one.

use serde::{Deserialize, Serialize};

/// An unclean stop, which this start has noticed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UncleanStop {
    /// Id of the run that ended.
    pub instance: Option<String>,
    /// Time of its start.
    pub started: Option<String>,
    /// Time when it last noted its sessions.
    pub seen: Option<String>,
    /// Number of sessions that it cut, as far as it had noted them.
    pub sessions: u64,
    /// The first 100 of them.
    pub cut: Vec<CutSession>,
}

/// Session that an unclean stop has cut.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CutSession {
    /// Session id.
    pub session: String,
    /// Name of the route.
    pub route: String,
    /// User that a policy had verified.
    pub user: Option<String>,
    /// Tenant that a policy had verified.
    pub tenant: Option<String>,
    /// `meeting_id` in the path, as the client sent it.
    pub meeting: Option<String>,
    /// File of the recording.
    pub recording: Option<String>,
}
