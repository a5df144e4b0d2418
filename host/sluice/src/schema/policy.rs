//! Policies of the generation that serves newcomers.

use serde::{Deserialize, Serialize};

use policy::component::ComponentPolicy;
use policy::{Hook, OnFailure, Policy as _};

/// Answer of `GET /policies`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Policies {
    /// Number of the generation.
    pub generation: u64,
    /// Its policies, by name.
    pub policies: Vec<Policy>,
}

/// A policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name in the configuration.
    pub name: String,
    /// `sha256:` and the digest of its component.
    pub digest: Option<String>,
    /// Who has signed it, by the name in the configuration, where signatures are asked for.
    pub signer: Option<String>,
    /// Hooks that it has.
    pub hooks: Vec<String>,
    /// What it may use beyond what every policy may.
    pub grants: Vec<String>,
    /// `closed` or `open`: what its failure means for a connection.
    pub on_failure: String,
    /// `in-use`, `quarantined`, `quarantined-by-operator`, or `probed` after a quarantine.
    pub state: String,
}

impl Policy {
    /// What is known of a policy now.
    #[must_use]
    pub(crate) fn of(name: &str, policy: &ComponentPolicy) -> Self {
        let hooks = Hook::ALL.iter().filter(|hook| policy.hooks().has(**hook));
        let on_failure = match policy.on_failure() {
            OnFailure::Closed => "closed",
            OnFailure::Open => "open",
        };
        Self {
            name: name.to_owned(),
            digest: policy.digest().map(ToString::to_string),
            signer: policy.signer().map(ToString::to_string),
            hooks: hooks.map(|hook| hook.name().to_owned()).collect(),
            grants: policy
                .grants()
                .iter()
                .map(|grant| grant.name().to_owned())
                .collect(),
            on_failure: on_failure.to_owned(),
            state: policy.state().word().to_owned(),
        }
    }
}
