use serde::de::DeserializeOwned;

use crate::host::connection::Facts;
use crate::{Rejection, json};

/// The connection that is being decided about. What it says comes from the
/// client unless it is said otherwise; an attribute comes from a policy.
pub struct Connection<'call> {
    pub(crate) facts: &'call Facts,
}

impl<'call> Connection<'call> {
    pub(crate) fn new(facts: &'call Facts) -> Self {
        Self { facts }
    }

    /// The id under which this connection is found in logs and metrics. The
    /// gateway gives it.
    pub fn session_id(&self) -> String {
        self.facts.session_id()
    }

    /// The name of the matched route, from the gateway's configuration.
    pub fn route(&self) -> String {
        self.facts.route()
    }

    /// The request path, percent-decoded, without the query.
    pub fn path(&self) -> String {
        self.facts.path()
    }

    /// A parameter of the route's path: `meeting_id`.
    pub fn param(&self, name: &str) -> Option<String> {
        self.facts.param(name)
    }

    /// The first query parameter of that name. `token` and `resume` are withheld.
    pub fn query(&self, name: &str) -> Option<String> {
        self.facts.query(name)
    }

    /// The request header of that name, in any case. Several lines are one value, with `", "`
    /// between them. Those that name the client (`x-forwarded-for`, `x-real-ip`, `forwarded`) have
    /// the address of [`Connection::remote_addr`]. Credentials are withheld.
    pub fn header(&self, name: &str) -> Option<String> {
        self.facts.header(name)
    }

    /// The client's address and port: what the operator's trusted proxies tell of it, or else where
    /// the connection comes from.
    pub fn remote_addr(&self) -> String {
        self.facts.remote_addr()
    }

    /// An attribute that an earlier policy left, by its full name:
    /// `auth.email`.
    pub fn attribute(&self, name: &str) -> Option<String> {
        self.facts.attribute(name)
    }

    /// Leaves an attribute for later policies, logs and the upstream. The
    /// gateway puts this policy's name and a dot before `name`.
    pub fn set_attribute(&self, name: &str, value: &str) {
        self.facts.set_attribute(name, value);
    }
}

/// The client's handshake message. The gateway has checked that it is a JSON
/// object and that the fields that the protocol requires are there.
pub struct Handshake<'call> {
    json: &'call str,
}

impl<'call> Handshake<'call> {
    /// Made by the gateway's call, and by tests.
    pub fn new(json: &'call str) -> Self {
        Self { json }
    }

    /// The message as it came.
    pub fn json(&self) -> &'call str {
        self.json
    }

    /// Reads the fields that a policy cares about. What does not fit is
    /// refused as `handshake_invalid`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        json::parse(self.json).map_err(|_| Rejection::handshake_invalid("Invalid handshake"))
    }
}
