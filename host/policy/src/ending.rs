//! How a connection ended, as policies are told.

use std::borrow::Cow;
use std::time::Duration;

use base::closed_by::ClosedBy;

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// The word of the error frame, or what else ended it.
    pub cause: Cow<'static, str>,
    /// The close code that was sent.
    pub close_code: u16,
    /// Which side ended it.
    pub closed_by: ClosedBy,
    /// Whether it got as far as to stream.
    pub streamed: bool,
    /// From the upgrade on.
    pub lasted: Duration,
    /// Bytes of BINARY payload from the client.
    pub received_bytes: u64,
    /// Bytes of payload that the client was sent by the upstream.
    pub sent_bytes: u64,
}
