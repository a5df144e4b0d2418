use serde::de::DeserializeOwned;

use crate::host::connection::Facts;
use crate::host::notice;
use crate::{Rejection, json};

/// Connection that the policy decides about. Its values come from the client unless noted
/// otherwise. Attributes come from policies.
pub struct Connection<'call> {
    pub(crate) facts: &'call Facts,
}

impl<'call> Connection<'call> {
    pub(crate) fn new(facts: &'call Facts) -> Self {
        Self { facts }
    }

    /// Session id in logs and metrics, assigned by the gateway.
    pub fn session_id(&self) -> String {
        self.facts.session_id()
    }

    /// Name of the matched route, from the gateway's configuration.
    pub fn route(&self) -> String {
        self.facts.route()
    }

    /// Path of the request, percent-decoded, without the query.
    pub fn path(&self) -> String {
        self.facts.path()
    }

    /// Parameter of the route's path, such as `meeting_id`.
    pub fn param(&self, name: &str) -> Option<String> {
        self.facts.param(name)
    }

    /// First query parameter of this name. `token` and `resume` are withheld.
    pub fn query(&self, name: &str) -> Option<String> {
        self.facts.query(name)
    }

    /// Request header of this name, in any case. Several lines are joined with `", "`. Headers that
    /// name the client (`x-forwarded-for`, `x-real-ip`, `forwarded`) have the address of
    /// [`Connection::remote_addr`]. Credentials are withheld.
    pub fn header(&self, name: &str) -> Option<String> {
        self.facts.header(name)
    }

    /// Address and port of the client, as the operator's trusted proxies report it, or else of the
    /// connection.
    pub fn remote_addr(&self) -> String {
        self.facts.remote_addr()
    }

    /// Attribute that an earlier policy set, by its full name: `auth.email`.
    pub fn attribute(&self, name: &str) -> Option<String> {
        self.facts.attribute(name)
    }

    /// Sets an attribute for later policies, logs and the upstream. The gateway prefixes `name`
    /// with this policy's name and a dot.
    pub fn set_attribute(&self, name: &str, value: &str) {
        self.facts.set_attribute(name, value);
    }

    /// Warns the client without refusing it. The message is sent once the stream has begun, and
    /// only if the policy accepts. A call about a renewed token sends none. The policy needs the grant
    /// `notice`.
    ///
    /// `code` is a word of lowercase letters, digits, `_`, `-` and `.`, such as `plan_expires`.
    ///
    /// ```
    /// # use sluice_policy::testing::Mock;
    /// let mock = Mock::new("plans");
    /// mock.connection().notify("plan_expires", "your plan ends in three days");
    /// assert_eq!(mock.notices(), ["plan_expires your plan ends in three days"]);
    /// ```
    pub fn notify(&self, code: &str, message: &str) {
        notice::send(self.facts, code, message);
    }
}

/// Handshake message of the client. The gateway has checked that it is a JSON object with the
/// required fields.
pub struct Handshake<'call> {
    json: &'call str,
}

impl<'call> Handshake<'call> {
    /// Wraps the text of a handshake. Called by the gateway's hook and by tests.
    pub fn new(json: &'call str) -> Self {
        Self { json }
    }

    /// The message, as the client sent it.
    pub fn json(&self) -> &'call str {
        self.json
    }

    /// Parses the fields that a policy needs. If they do not fit, the error refuses the connection
    /// with `handshake_invalid`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        json::parse(self.json).map_err(|_| Rejection::handshake_invalid("Invalid handshake"))
    }
}
