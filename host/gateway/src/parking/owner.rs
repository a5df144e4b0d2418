//! Whose a stream is.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::rooms::CountedClient;
use base::permits::network;
use session::facts::{Credentials, Facts};
use session::handshake::Handshake;

/// What must be the same for a stream to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub(crate) route: Box<str>,
    pub(crate) params: Vec<(String, String)>,
    pub(crate) source: Option<String>,
    /// All that is known of who the client is. The rest of what policies leave
    /// proves nothing.
    identity: Vec<(String, String)>,
    format: (u32, u16, String),
}

impl Owner {
    /// Whom its streams are counted for: the user, or, where nobody knows who that
    /// is, the address.
    pub(super) fn client(&self, address: IpAddr) -> CountedClient {
        if self.identity.is_empty() {
            CountedClient::Address(network(address))
        } else {
            CountedClient::User(self.identity.clone())
        }
    }

    /// Of a connection that its policies let in. Those that are named have
    /// checked who it is.
    #[must_use]
    pub fn of(facts: &Facts, identified_by: &[String], handshake: &Handshake) -> Self {
        let source = facts.query("source", Credentials::Withheld);
        Self {
            route: (*facts.route).into(),
            params: facts.params.clone(),
            source: source.map(std::borrow::Cow::into_owned),
            identity: facts.attributes_of(identified_by),
            format: (
                handshake.sample_rate,
                handshake.channels,
                handshake.codec.clone(),
            ),
        }
    }
}
