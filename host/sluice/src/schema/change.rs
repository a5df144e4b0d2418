//! Answers to requests that change something.

use serde::{Deserialize, Serialize};

use super::{Policy, time};
use config::OptionsDiff;
use gateway::revocations::{self, Owner};

/// Answer of `POST /sessions/{id}/close` and `POST /sessions/close`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// Number of sessions that were told to end.
    pub closed: u64,
    /// Time until which new sessions of the user or tenant are refused.
    pub revoked_until: Option<String>,
    /// Whether the other gateways refuse them too: `told`, `told-later` or `not-told`.
    pub other_gateways: Option<String>,
}

/// Answer of `GET /revocations`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Revocations {
    /// Revocations in force.
    pub revocations: Vec<Revocation>,
}

/// Refusal of a user's or a tenant's sessions for a time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Revocation {
    /// User who is refused.
    pub user: Option<String>,
    /// Tenant whose users are refused.
    pub tenant: Option<String>,
    /// Time of its end.
    pub until: String,
    /// Time when it was made.
    pub since: String,
    /// Sentence that the clients are told.
    pub reason: String,
}

impl Revocation {
    /// What is known of a revocation.
    #[must_use]
    pub(crate) fn of(owner: Owner, revocation: revocations::Revocation) -> Self {
        let (user, tenant) = match owner {
            Owner::User(user) => (Some(user), None),
            Owner::Tenant(tenant) => (None, Some(tenant)),
        };
        let shown = |text: String| base::text::clean(&text, 1024);
        Self {
            user: user.map(shown),
            tenant: tenant.map(shown),
            until: time(revocation.until_ms),
            since: time(revocation.since_ms),
            reason: revocation.reason,
        }
    }
}

/// Answer of `POST /revocations/lift`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lifted {
    /// Number of revocations that were ended.
    pub lifted: u64,
    /// Whether the other gateways do so too: `told`, `told-later` or `not-told`.
    pub other_gateways: Option<String>,
}

/// Answer of `POST /drain` and `POST /undrain`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Draining {
    /// Whether newcomers are refused.
    pub draining: bool,
}

/// Answer of `POST /policies/{name}/quarantine` and `POST /policies/{name}/release`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyChanged {
    /// The policy as it is now.
    pub policy: Policy,
    /// Whether the other gateways do so too: `told`, `told-later` or `not-told`.
    pub other_gateways: Option<String>,
}

/// Answer of `GET /config/diff`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigDiff {
    /// Sections, and options of sections, that are new.
    pub added: Vec<String>,
    /// Sections and options that are gone.
    pub removed: Vec<String>,
    /// Options with another value, or with the same one written in another way.
    pub changed: Vec<String>,
    /// Files whose content differs from what serves.
    pub changed_files: Vec<String>,
    /// Options that take effect only after a restart.
    pub needs_restart: Vec<String>,
    /// Beginning of the report, if the configuration has mistakes and a reload would be refused.
    pub report: Option<String>,
}

impl ConfigDiff {
    /// What differs between options.
    #[must_use]
    pub(crate) fn of(diff: OptionsDiff) -> Self {
        let OptionsDiff {
            added,
            removed,
            changed,
        } = diff;
        Self {
            added,
            removed,
            changed,
            ..Self::default()
        }
    }
}

/// Answer of `POST /reload`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Number of the new generation.
    pub generation: u64,
    /// Options that differ from those of the start, and take effect after a restart.
    pub needs_restart: Vec<String>,
}
