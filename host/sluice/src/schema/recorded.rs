//! Decisions about a session in the decision record.

use serde::{Deserialize, Serialize};

use policy::record::Line;

/// Answer of `GET /sessions/{id}/decisions`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordedDecisions {
    /// Whether the gateway records decisions.
    pub recorded: bool,
    /// Lines of the record about the session, at most the latest 64.
    pub decisions: Vec<Line>,
}
