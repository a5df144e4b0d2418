//! What gateways write of claims and leases, and say to each other, as JSON.

use std::time::Duration;

use base::rejection::Rejection;
use serde::{Deserialize, Serialize};
use session::registry::Holder;
use session::registry::shared::SharedClaim;

/// Version of all records.
const VERSION: u32 = 1;
/// Maximum size of all attributes in the record of a claim, in bytes: leases need room beside them.
const MAX_ATTRIBUTES: usize = 4 << 10;

/// Claim on a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClaimRecord {
    version: u32,
    pub(super) session_id: String,
    /// ID of the session that began the stream.
    pub(super) stream: String,
    /// Instance id of the gateway.
    pub(super) gateway: String,
    /// Incarnation of its lease.
    pub(super) incarnation: u64,
    since_ms: u64,
    attributes: Vec<(String, String)>,
}

/// Lease of a gateway, on which all of its claims depend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaseRecord {
    version: u32,
    /// Grows whenever the gateway has lost its lease.
    pub(super) incarnation: u64,
    pub(super) state: LeaseState,
    /// What the gateway says of itself, for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) about: Option<About>,
}

/// What a gateway says of itself with each renewal of its lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// Name of its machine; empty if it is not known.
    pub host: String,
    /// Version of the gateway.
    pub version: String,
    /// Number of its live connections and parked streams.
    pub sessions: u64,
    /// Number of keys that its sessions hold.
    pub claims: u64,
}

/// State of an incarnation of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LeaseState {
    /// It holds.
    Held,
    /// It has ended, and so have those before it.
    Ended,
}

/// Message to another gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Message {
    /// A session of the other gateway has lost a key.
    Evicted {
        key: String,
        /// Sequence number of the claim that took the key.
        sequence: u64,
        notice: Notice,
    },
    /// A stream of the other gateway goes on here.
    LetGo {
        stream: String,
        /// Session that had it there.
        session_id: String,
    },
}

/// Notice to a session that was evicted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notice {
    close_code: u16,
    code: String,
    message: String,
    retryable: bool,
    retry_after_ms: Option<u64>,
}

impl ClaimRecord {
    pub(super) fn of(claim: &SharedClaim, gateway: &str, incarnation: u64) -> Self {
        Self {
            version: VERSION,
            session_id: claim.session_id.to_string(),
            stream: claim.stream.to_string(),
            gateway: gateway.to_owned(),
            incarnation,
            since_ms: claim.since_ms,
            attributes: bounded(&claim.attributes),
        }
    }

    /// Reads a record; `None` if it is none of this version.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(content).ok()?;
        (record.version == VERSION).then_some(record)
    }

    pub(super) fn holder(self) -> Holder {
        Holder {
            session_id: self.session_id,
            since_ms: self.since_ms,
            attributes: self.attributes,
        }
    }
}

/// Attributes as far as there is room for them in a record: the first ones that fit.
fn bounded(attributes: &[(String, String)]) -> Vec<(String, String)> {
    let mut room = MAX_ATTRIBUTES;
    let mut has_room = |(name, value): &&(String, String)| {
        let size = name.len() + value.len();
        let fits = size <= room;
        if fits {
            room -= size;
        }
        fits
    };
    attributes
        .iter()
        .filter(|it| has_room(it))
        .cloned()
        .collect()
}

impl LeaseRecord {
    pub(super) fn new(incarnation: u64, state: LeaseState) -> Self {
        Self {
            version: VERSION,
            incarnation,
            state,
            about: None,
        }
    }

    /// Lease that is held by a gateway which says this of itself.
    pub(super) fn held(incarnation: u64, about: About) -> Self {
        Self {
            about: Some(about),
            ..Self::new(incarnation, LeaseState::Held)
        }
    }

    /// Whether it is this incarnation, which is held.
    pub(super) fn is_held(&self, incarnation: u64) -> bool {
        self.incarnation == incarnation && self.state == LeaseState::Held
    }

    /// Reads a record; `None` if it is none of this version.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(content).ok()?;
        (record.version == VERSION).then_some(record)
    }

    /// Whether the lease has lost this incarnation for good: none ever comes back.
    pub(super) fn has_ended(&self, incarnation: u64) -> bool {
        self.incarnation > incarnation
            || self.incarnation == incarnation && self.state == LeaseState::Ended
    }
}

impl From<&Rejection> for Notice {
    fn from(rejection: &Rejection) -> Self {
        let ms = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        Self {
            close_code: rejection.close_code,
            code: rejection.code.clone(),
            message: rejection.message.clone(),
            retryable: rejection.retryable,
            retry_after_ms: rejection.retry_after.map(ms),
        }
    }
}

impl From<Notice> for Rejection {
    fn from(notice: Notice) -> Self {
        Self {
            close_code: notice.close_code,
            code: notice.code,
            message: notice.message,
            retryable: notice.retryable,
            retry_after: notice.retry_after_ms.map(Duration::from_millis),
        }
    }
}

/// A record as JSON.
pub(super) fn json(record: &impl Serialize) -> Vec<u8> {
    // Texts and numbers cannot fail. A record that is empty would be a removed one, which frees the
    // key instead of keeping it by mistake.
    serde_json::to_vec(record).unwrap_or_default()
}
