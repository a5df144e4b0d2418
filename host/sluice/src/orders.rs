//! Orders of operators that hold at all gateways with the same `[cluster]`: revocations, and
//! quarantines by hand.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::audit::Change;
use base::text;
use cluster::board;
use gateway::connections::{LiveConnection, Stage};
use gateway::revocations::{Owner, Revocation, TooManyRevocations};
use gateway::routes::Gateway;
use policy::Policy as _;
use session::registry::unix_ms;

/// Maximum length of the sentence for the client, in bytes.
pub(crate) const MAX_REASON: usize = 512;
/// Maximum length of a user's or a tenant's id, in bytes.
pub(crate) const MAX_ID: usize = 1024;

/// Order of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Address of whoever gave it.
    pub(crate) by: SocketAddr,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What an operator has ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(crate) enum What {
    /// Sessions of an owner end, and new ones are refused.
    Revoke {
        owner: Owner,
        until_ms: u64,
        since_ms: u64,
        reason: String,
    },
    /// The owner may come again.
    Lift { owner: Owner, until_ms: u64 },
    /// The policy with this component is not called.
    Quarantine {
        policy: String,
        digest: Option<String>,
    },
    /// The policy is called again.
    Release { policy: String },
}

impl What {
    /// Whether this program could have given the order, for a record with this key. Whoever can write to
    /// the servers can write others.
    fn is_sound(&self, key: &str) -> bool {
        let is_short = match self {
            Self::Revoke { owner, .. } | Self::Lift { owner, .. } => owner.id().len() <= MAX_ID,
            Self::Quarantine { .. } | Self::Release { .. } => true,
        };
        is_short && board::key(&self.about()) == key
    }

    /// What the order is about: a later one about the same replaces it.
    pub(crate) fn about(&self) -> String {
        match self {
            Self::Revoke { owner, .. } | Self::Lift { owner, .. } => owner.to_string(),
            Self::Quarantine { policy, .. } | Self::Release { policy } => {
                format!("policy {policy}")
            }
        }
    }

    /// Time from which on the order says nothing any more.
    pub(crate) fn ends_ms(&self) -> Option<u64> {
        match self {
            Self::Revoke { until_ms, .. } | Self::Lift { until_ms, .. } => Some(*until_ms),
            Self::Quarantine { .. } | Self::Release { .. } => None,
        }
    }
}

/// Obeys an order that was given at another gateway.
pub(crate) async fn obey(gateway: Arc<Gateway>, order: board::Order) {
    let board::Order {
        gateway: from,
        key,
        order,
    } = order;
    let Order { by, what } = match serde_json::from_value::<Order>(order) {
        Ok(order) if order.what.is_sound(&key) => order,
        Ok(_) => {
            let from = text::clean(&from, MAX_ID);
            tracing::warn!(
                gateway = from,
                "an order is ignored that no gateway has given"
            );
            return;
        }
        Err(error) => {
            tracing::warn!(gateway = from, %error, "an order of another gateway is not understood");
            return;
        }
    };
    let log = |action, reason: &str, result: &str| {
        let change = Change {
            by,
            action,
            to: &what.about(),
            reason,
            result,
        };
        change.log_from(&from);
    };
    match &what {
        What::Revoke {
            owner,
            until_ms,
            since_ms,
            reason,
        } => {
            let reason = text::clean(reason, MAX_REASON);
            if *until_ms <= unix_ms() {
                // It is over, and has replaced an earlier one that may not be.
                gateway.revocations.lift(owner);
                log("close", &reason, "over already");
                return;
            }
            let revocation = Revocation {
                until_ms: *until_ms,
                since_ms: *since_ms,
                reason: reason.clone(),
            };
            let result = match revoke(&gateway, owner, revocation).await {
                Ok(closed) => format!("{closed} sessions told to end, new ones refused"),
                Err(error) => error.to_string(),
            };
            log("close", &reason, &result);
        }
        What::Lift { owner, .. } => {
            let lifted = gateway.revocations.lift(owner);
            let found = if lifted.is_some() {
                "may come again"
            } else {
                "not found"
            };
            log("lift", "", found);
        }
        What::Quarantine { policy, digest } => {
            let generation = gateway.generation.load();
            let found = generation.policies.get(policy).and_then(Option::as_ref);
            let result = match found {
                None => "not found",
                Some(found) if found.digest().map(ToString::to_string) != *digest => {
                    "not done: this gateway has another version of the policy"
                }
                Some(found) => {
                    found.quarantine();
                    found.state().word()
                }
            };
            log("quarantine", "", result);
        }
        What::Release { policy } => {
            let generation = gateway.generation.load();
            let found = generation.policies.get(policy).and_then(Option::as_ref);
            let result = found.map_or("not found", |found| {
                found.release();
                found.state().word()
            });
            log("release", "", result);
        }
    }
}

/// Ends all sessions of an owner, and refuses new ones for a time. Returns how many were told.
///
/// # Errors
/// [`TooManyRevocations`]. Nothing has changed then.
pub(crate) async fn revoke(
    gateway: &Gateway,
    owner: &Owner,
    revocation: Revocation,
) -> Result<u64, TooManyRevocations> {
    let told = revocation.reason.clone();
    // First, so that whoever comes meanwhile is either seen below or refused.
    gateway.revocations.add(owner.clone(), revocation)?;
    Ok(end_all(gateway, owner, &told).await)
}

/// Ends all sessions of an owner. Returns how many were told.
pub(crate) async fn end_all(gateway: &Gateway, owner: &Owner, told: &str) -> u64 {
    let mut closed = 0;
    let closing = gateway.connections.visit("", |live| {
        closed += u64::from(live.is_of(owner) && end(live, told));
        ControlFlow::Continue(())
    });
    closing.await;
    closed
}

/// Ends a session, unless it is ending already. Says whether it did.
pub(crate) fn end(live: &LiveConnection, told: &str) -> bool {
    let ends_already = matches!(live.stage(), Stage::Seal | Stage::Close);
    if live.session().is_evicted() {
        return false;
    }
    // In any case: a stream that is just about to be parked looks as if it ended already.
    live.session().end(told);
    !ends_already
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_sound_under_its_own_key_alone_and_with_an_id_that_an_operator_can_give() {
        let lift = |user: String| What::Lift {
            owner: Owner::User(user),
            until_ms: 1,
        };
        let (short, long) = (lift("u".repeat(MAX_ID)), lift("u".repeat(MAX_ID + 1)));
        assert!(short.is_sound(&board::key(&short.about())));
        assert!(!short.is_sound(&board::key("user v")));
        assert!(!long.is_sound(&board::key(&long.about())));
    }
}
