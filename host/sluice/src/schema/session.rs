//! Live connections and parked streams.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{Claimed, Decision, time};
use base::text::hex;
use gateway::connections::LiveConnection;
use session::registry::unix_ms;
use traces::trace::Trace;
use upstream::{Places, Presence};

/// Answer of `GET /sessions`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    /// Sessions, the oldest first.
    pub sessions: Vec<Session>,
    /// Value of `after` for the next page; `null` if this is the last one.
    pub next: Option<String>,
}

/// Answer of `GET /sessions/{id}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OneSession {
    /// The session.
    pub session: Session,
}

/// A live connection, or a parked stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Session id, as the client got it in its ack or its error frame.
    pub id: String,
    /// Address and port of the client.
    pub client: String,
    /// User that a policy has verified.
    pub user: Option<String>,
    /// Tenant that a policy has verified.
    pub tenant: Option<String>,
    /// Identity that the token claims, if no user is verified.
    pub claimed: Option<Claimed>,
    /// `meeting_id` in the path, as the client sent it.
    pub meeting: Option<String>,
    /// `source` in the query.
    pub source: Option<String>,
    /// Name of the route; empty if none matched.
    pub route: String,
    /// Number of the generation that serves it.
    pub generation: u64,
    /// `connect`, `handshake`, `open`, `stream`, `seal`, `close`, or `parked`.
    pub stage: String,
    /// Time of the upgrade.
    pub began: String,
    /// Time since the upgrade, in milliseconds.
    pub age_ms: u64,
    /// Bytes of BINARY payload from the client over this connection.
    pub received_bytes: u64,
    /// Bytes of payload from the upstream to the client over this connection.
    pub sent_bytes: u64,
    /// Bytes of BINARY payload from the client per second, over the latest two seconds.
    pub received_bytes_per_second: Option<u64>,
    /// Bytes of payload from the upstream to the client per second, over the latest two seconds.
    pub sent_bytes_per_second: Option<u64>,
    /// Bytes of audio that the client was told are safe; 0 without receipts.
    pub acknowledged_bytes: u64,
    /// Backend of the stream.
    pub backend: Option<Backend>,
    /// File of the recording.
    pub recording: Option<String>,
    /// Id of its trace, if it is traced.
    pub trace_id: Option<String>,
    /// Decisions of policies, in their order.
    pub decisions: Vec<Decision>,
    /// SHA-256 digests of the keys that it holds, in the order of its claims.
    pub claims: Vec<String>,
}

/// Backend of a stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// Address and port that the gateway is connected to, or was last.
    pub address: Option<String>,
    /// `here`, or `away` while the stream waits for it.
    pub state: String,
}

impl Session {
    /// What is known of a connection now.
    #[must_use]
    pub(crate) fn of(live: &LiveConnection) -> Self {
        let facts = &live.session().facts;
        let user = live.user();
        let destination = live.destination();
        let places = destination.map(|to| to.places()).unwrap_or_default();
        let decisions = live.decisions();
        Self {
            id: facts.session_id.to_string(),
            client: facts.remote.to_string(),
            tenant: live.tenant(),
            claimed: user
                .is_none()
                .then(|| facts.claimed().map(Claimed::of))
                .flatten(),
            user,
            meeting: live.meeting(),
            source: live.source(),
            route: facts.route.to_string(),
            generation: live.generation(),
            stage: live.stage().word().to_owned(),
            began: time(live.began_ms()),
            age_ms: unix_ms().saturating_sub(live.began_ms()),
            received_bytes: live.received(),
            sent_bytes: live.sent(),
            received_bytes_per_second: live.receiving(),
            sent_bytes_per_second: live.sending(),
            acknowledged_bytes: destination.map_or(0, |to| to.kept()),
            backend: Backend::of(&places),
            recording: places
                .recording
                .map(|file| base::text::clean(&file.to_string_lossy(), 1024)),
            trace_id: live.trace().map(Trace::id),
            decisions: decisions.iter().map(Decision::of).collect(),
            claims: digests(&live.session().claims()),
        }
    }
}

/// Digests of keys, as the records of claims in NATS are named.
fn digests(keys: &[String]) -> Vec<String> {
    let of = |key: &String| hex(digest(&SHA256, key.as_bytes()).as_ref());
    keys.iter().map(of).collect()
}

impl Backend {
    fn of(places: &Places) -> Option<Self> {
        let (address, presence) = places.backend?;
        let state = match presence {
            Presence::Here => "here",
            Presence::Away => "away",
        };
        Some(Self {
            address: address.map(|address| address.to_string()),
            state: state.to_owned(),
        })
    }
}
