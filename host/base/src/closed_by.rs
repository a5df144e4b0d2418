//! Which side ended a connection.

use serde::{Deserialize, Serialize};

/// Side that ended a connection, as metrics, the log, policies and the decision record name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClosedBy {
    /// The client finalized the stream or closed the connection.
    Client,
    /// The gateway refused or ended the connection.
    Gateway,
    /// The transport failed before either side closed the connection.
    Transport,
    /// The backend closed the stream, with a code and a reason of its own.
    Upstream,
}

impl ClosedBy {
    /// All sides.
    pub const ALL: [Self; 4] = [Self::Client, Self::Gateway, Self::Transport, Self::Upstream];

    /// Name of the side in metrics, the log and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Transport => "transport",
            Self::Upstream => "upstream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_recorded_as_the_word_that_everybody_else_is_told() {
        for side in ClosedBy::ALL {
            let json = serde_json::to_value(side).unwrap();
            assert_eq!(json, side.word());
        }
    }
}
