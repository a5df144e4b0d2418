//! Users and tenants who are refused for a time, at an operator's word.
//!
//! The list outlives reloads and ends with the process. An operator who adds to it is heard at
//! once: whoever is verified later meets it, and whoever was verified before is told to end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use session::registry::{Session, unix_ms};

/// Maximum number of revocations in force.
pub const MAX: usize = 1024;

/// Somebody whose sessions a policy has verified.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A user, of whatever tenant.
    User(String),
    /// A tenant, with all of its users.
    Tenant(String),
}

impl Owner {
    /// Id of the user or tenant.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::User(id) | Self::Tenant(id) => id,
        }
    }

    /// Whether a policy has verified that the session is theirs. `identified_by` are the policies
    /// that say who a client is.
    #[must_use]
    pub fn has(&self, session: &Session, identified_by: &[String]) -> bool {
        match self {
            Self::User(user) => session.user() == Some(user),
            Self::Tenant(tenant) => {
                let verified = session.facts.said_by(identified_by, "tenant_id");
                verified.is_some_and(|verified| *verified == **tenant)
            }
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user {user}"),
            Self::Tenant(tenant) => write!(f, "tenant {tenant}"),
        }
    }
}

/// Refusal of somebody's sessions for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Time of its end, in milliseconds since 1970.
    pub until_ms: u64,
    /// Time when it was made, in milliseconds since 1970.
    pub since_ms: u64,
    /// Sentence for the clients.
    pub reason: String,
}

/// Error: as many revocations are in force as can be.
#[derive(Debug, PartialEq, Eq)]
pub struct TooManyRevocations;

impl fmt::Display for TooManyRevocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{MAX} revocations are in force, and more cannot be: lift one first"
        )
    }
}

impl std::error::Error for TooManyRevocations {}

/// Revocations in force.
#[derive(Debug, Default)]
pub struct Revocations(Mutex<BTreeMap<Owner, Revocation>>);

impl Revocations {
    /// Adds one, or replaces the one of the same owner.
    ///
    /// # Errors
    /// [`TooManyRevocations`]
    pub fn add(&self, owner: Owner, revocation: Revocation) -> Result<(), TooManyRevocations> {
        let mut all = self.in_force();
        if all.len() >= MAX && !all.contains_key(&owner) {
            return Err(TooManyRevocations);
        }
        all.insert(owner, revocation);
        Ok(())
    }

    /// Ends the one of this owner before its time. Returns it, if there was one.
    pub fn lift(&self, owner: &Owner) -> Option<Revocation> {
        self.in_force().remove(owner)
    }

    /// All of them, by owner.
    #[must_use]
    pub fn all(&self) -> Vec<(Owner, Revocation)> {
        let all = self.in_force();
        let all = all.iter();
        all.map(|(owner, revocation)| (owner.clone(), revocation.clone()))
            .collect()
    }

    /// Sentence for a session whose user or tenant is refused.
    pub(crate) fn reason(&self, session: &Session, identified_by: &[String]) -> Option<String> {
        let all = self.in_force();
        if all.is_empty() {
            return None;
        }
        let tenant = session.facts.said_by(identified_by, "tenant_id");
        let owners = [
            session.user().map(|user| Owner::User(user.to_owned())),
            tenant.map(Owner::Tenant),
        ];
        let mut owners = owners.into_iter().flatten();
        owners.find_map(|owner| Some(all.get(&owner)?.reason.clone()))
    }

    /// The list without those that are over.
    fn in_force(&self) -> MutexGuard<'_, BTreeMap<Owner, Revocation>> {
        // A map keeps its invariants at every step, so poisoning does not matter.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.is_empty() {
            let now = unix_ms();
            all.retain(|_, revocation| revocation.until_ms > now);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocation(until_ms: u64) -> Revocation {
        Revocation {
            until_ms,
            since_ms: 0,
            reason: "moved".to_owned(),
        }
    }

    #[test]
    fn one_is_in_force_until_its_time_and_until_it_is_lifted() {
        let revocations = Revocations::default();
        let [user, tenant] = [Owner::User("a".to_owned()), Owner::Tenant("a".to_owned())];
        revocations
            .add(user.clone(), revocation(unix_ms()))
            .unwrap();
        assert_eq!(revocations.all(), []);
        let later = revocation(unix_ms() + 3_600_000);
        revocations.add(user.clone(), later.clone()).unwrap();
        assert_eq!(revocations.all(), [(user.clone(), later)]);
        assert_eq!(revocations.lift(&tenant), None);
        assert!(revocations.lift(&user).is_some());
        assert_eq!(revocations.all(), []);
    }

    #[test]
    fn there_are_so_many_and_one_that_is_there_can_be_changed() {
        let revocations = Revocations::default();
        let owner = |number: usize| Owner::User(number.to_string());
        for number in 0..MAX {
            revocations
                .add(owner(number), revocation(u64::MAX))
                .unwrap();
        }
        let added = revocations.add(owner(MAX), revocation(u64::MAX));
        assert_eq!(added, Err(TooManyRevocations));
        revocations.add(owner(0), revocation(u64::MAX - 1)).unwrap();
        assert!(revocations.lift(&owner(1)).is_some());
        revocations.add(owner(MAX), revocation(u64::MAX)).unwrap();
    }
}
