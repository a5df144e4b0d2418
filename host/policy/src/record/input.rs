//! What a policy could see, in a line of the record.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Pairs;
use base::closed_by::ClosedBy;

/// What a policy could see. Values of what is named in `withheld` are not
/// there, whether or not the policy was granted to see them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The path, percent-decoded.
    pub path: String,
    /// The peer's address and port.
    pub remote: String,
    /// The path's parameters.
    pub params: Pairs,
    /// The query's parameters, percent-decoded.
    pub query: Pairs,
    /// The headers, the first of each name.
    pub headers: Pairs,
    /// What earlier policies had left.
    pub attributes: Pairs,
    /// What was there and is not recorded: `header cookie`, `query token`.
    pub withheld: Vec<String>,
    /// On `on-handshake`: the client's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<Value>,
    /// On `on-frames`: what the client had sent, without the payloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<RecordedWindow>,
    /// On `on-close`: how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<RecordedEnding>,
}

/// Window of a stream, as a line has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedWindow {
    /// Which window of the stream it is, from 0.
    pub index: u64,
    /// How long it lasted, in microseconds.
    pub length_us: u64,
    /// For how much of that the gateway did not read.
    pub held_us: u64,
    /// Whether the client had said that it pauses.
    pub paused: bool,
    /// TEXT messages, and their bytes.
    pub text: (u64, u64),
    /// BINARY messages, and their bytes.
    pub binary: (u64, u64),
    /// The last messages: `text` or `binary`, bytes, microseconds since the
    /// window began.
    pub frames: Vec<(FrameKind, u32, u32)>,
}

/// The kinds of message that RFC 6455 has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameKind {
    /// TEXT
    Text,
    /// BINARY
    Binary,
}

/// How a connection ended, as a line has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedEnding {
    /// The word of the error frame, or what else ended it.
    pub cause: String,
    /// The close code that was sent.
    pub close_code: u16,
    /// Which side ended it: `client`, `gateway`, `transport` or `upstream`.
    pub closed_by: ClosedBy,
    /// Whether it got as far as to stream.
    pub streamed: bool,
    /// From the upgrade on, in microseconds.
    pub lasted_us: u64,
    /// Bytes of BINARY payload from the client.
    pub received_bytes: u64,
    /// Bytes of payload that the client was sent.
    pub sent_bytes: u64,
}
