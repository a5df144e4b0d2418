//! Schema of the JSON on the admin listener. The gateway writes these types, and the commands
//! (`sluice sessions`, `sluice status`) read the same ones.
//!
//! `host/docs/operate.md` describes every field. Within one [`SCHEMA`] fields are only added.

use serde::{Deserialize, Serialize};

mod change;
mod decision;
mod generation;
mod key_set;
mod policy;
mod recorded;
mod recording;
mod refusal;
mod session;
mod status;
mod ticket;
mod unclean;
mod upstream;

pub use change::{
    Closed, ConfigDiff, Draining, Lifted, PolicyChanged, Reloaded, Revocation, Revocations,
};
pub use decision::{Claimed, Decision};
pub use generation::{Generation, Generations};
pub use key_set::{Clock, KeySet};
pub use policy::{Policies, Policy};
pub use recorded::RecordedDecisions;
pub use recording::{Recording, RecordingDeleted, Recordings};
pub use refusal::{Refusal, Refusals};
pub use session::{Backend, OneSession, Session, Sessions};
pub use status::{
    Capacity, Certificate, Check, ClusterGateway, ClusterStatus, Connections, DecisionRecord,
    Status,
};
pub use ticket::Ticket;
pub use unclean::{CutSession, UncleanStop};
pub use upstream::{Address, Upstream, Upstreams};

/// Version of the schema.
pub const SCHEMA: u32 = 1;

/// An answer of the admin listener.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer<T> {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Id of the run of the gateway that answers.
    pub instance: String,
    /// What was asked for.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Answer<T> {
    /// Answer of this run of the gateway.
    #[must_use]
    pub(crate) fn of(body: T) -> Self {
        Self {
            schema: SCHEMA,
            instance: base::instance::id().to_owned(),
            body,
        }
    }
}

/// A time in milliseconds since 1970, in the form of RFC 3339.
pub(crate) fn time(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}
