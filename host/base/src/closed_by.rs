//! Which side ended a connection.

use serde::{Deserialize, Serialize};

/// Which side ended a connection, as metrics, the log, policies and the decision record say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClosedBy {
    /// The client finalized or closed.
    Client,
    /// The gateway refused the connection or gave it up.
    Gateway,
    /// The connection was lost, and nobody had closed it.
    Transport,
    /// The backend closed the stream, with a code and a reason of its own.
    Upstream,
}

impl ClosedBy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Gateway, Self::Transport, Self::Upstream];

    /// The word for it.
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
