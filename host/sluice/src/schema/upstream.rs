//! Upstreams of the generation that serves newcomers.

use serde::{Deserialize, Serialize};

use gateway::routes::NamedUpstream;

/// Answer of `GET /upstreams`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Upstreams {
    /// Number of the generation.
    pub generation: u64,
    /// Its upstreams, by name.
    pub upstreams: Vec<Upstream>,
}

/// An upstream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its name in the configuration.
    pub name: String,
    /// `wav`, `websocket`, `echo` or `discard`.
    pub kind: String,
    /// Addresses of its backend.
    pub addresses: Vec<Address>,
}

/// Address of a backend.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Address {
    /// Host and port.
    pub address: String,
    /// Number of streams that it has.
    pub streams: usize,
    /// `in-use`, `rests` because it kept failing, or `probed` after a rest.
    pub state: String,
}

impl Upstream {
    /// What is known of an upstream now.
    #[must_use]
    pub(crate) fn of(named: &NamedUpstream) -> Self {
        let addresses = named.upstream.backends().into_iter().map(|at| Address {
            address: at.address,
            streams: at.streams,
            state: at.state.word().to_owned(),
        });
        Self {
            name: named.name.clone(),
            kind: named.kind.to_owned(),
            addresses: addresses.collect(),
        }
    }
}
