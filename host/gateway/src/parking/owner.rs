//! Whose a stream is.

use std::net::IpAddr;
use std::sync::Arc;

use super::rooms::CountedClient;
use base::permits::network;
use session::facts::{Credentials, Facts};
use session::handshake::Handshake;

/// What must be the same for a stream to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    route: Arc<str>,
    params: Vec<(String, String)>,
    source: Option<String>,
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
            route: Arc::clone(&facts.route),
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
