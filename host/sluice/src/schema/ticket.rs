//! Tickets for a browser's WebSocket.

use serde::{Deserialize, Serialize};

/// Answer of `POST /console/tickets`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    /// Good for one WebSocket to `/console/try/TICKET/PATH` within 30 s.
    pub ticket: String,
}
