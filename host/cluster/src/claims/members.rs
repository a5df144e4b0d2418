//! Gateways that share the servers, as their leases show them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::record::{About, LeaseRecord, LeaseState};
use crate::connection::{Away, Cluster};

/// Maximum number of leases that are read at once.
const MAX: usize = 512;

/// Says what a gateway is like now.
pub type Describe = Arc<dyn Fn() -> About + Send + Sync>;

/// Gateway with a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its instance id.
    pub instance: String,
    /// Whether its lease was ended, by itself or by a gateway that found none.
    pub has_ended: bool,
    /// What it has said of itself.
    pub about: About,
    /// Time of the latest renewal by the clock of the servers, in milliseconds since 1970.
    pub renewed_ms: u64,
}

/// All gateways that have a lease, or had one until a minute ago, by their instance ids.
///
/// # Errors
/// [`Away`]
pub async fn members(cluster: &Cluster) -> Result<Vec<Member>, Away> {
    let (space, leases) = (
        cluster.claims_space().name,
        cluster.claims_subject("lease.*"),
    );
    let (mut members, mut from) = (BTreeMap::new(), 1);
    for _ in 0..MAX {
        let Some(message) = cluster.next(&space, &leases, from).await? else {
            break;
        };
        from = message.sequence + 1;
        let instance = message.subject.rsplit('.').next().unwrap_or_default();
        let Some(record) = LeaseRecord::read(&message.payload) else {
            continue;
        };
        let ms = message.time.unix_timestamp_nanos() / 1_000_000;
        let member = Member {
            instance: instance.to_owned(),
            has_ended: record.state == LeaseState::Ended,
            about: record.about.unwrap_or_default(),
            renewed_ms: u64::try_from(ms).unwrap_or_default(),
        };
        // A lease that was renewed meanwhile comes again.
        members.insert(instance.to_owned(), member);
    }
    Ok(members.into_values().collect())
}
