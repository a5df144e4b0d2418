//! Lets in one connection for a key, such as a meeting and its source.
//!
//! The gateway keeps the claims and releases them; which key, and who may
//! take it from whom, is decided here.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod fact;
mod rule;

use fact::Fact;
use rule::{Rule, Seat};
use sluice_policy::{
    Config, ConfigError, Connection, Decision, Holder, Lifecycle, OnConnect, Rejection,
};

struct Duplicate;

impl OnConnect for Duplicate {
    fn decide(connection: &Connection) -> Decision {
        let rule = Rule::from_config(&Config::host())?;
        let key = rule.key(|fact| read(connection, fact));
        let user = connection.attribute(&rule.user);
        rule.admit(&mut Claimed { connection, key }, user.as_deref())
    }
}

impl Lifecycle for Duplicate {
    fn validate_config() -> Result<(), ConfigError> {
        Rule::from_config(&Config::host()).map(drop)
    }
}

fn read(connection: &Connection, fact: &Fact) -> Option<String> {
    match fact {
        Fact::Route => Some(connection.route()),
        Fact::Path => Some(connection.path()),
        Fact::Param(name) => connection.param(name),
        Fact::Query(name) => connection.query(name),
        Fact::Header(name) => connection.header(name),
        Fact::Attribute(name) => connection.attribute(name),
    }
}

/// A key in the gateway's registry, seen by one connection.
struct Claimed<'call> {
    connection: &'call Connection<'call>,
    key: String,
}

impl Seat for Claimed<'_> {
    fn claim(&mut self) -> Result<(), Holder> {
        self.connection.claim(&self.key)
    }

    fn evict(&mut self, holder: &Holder, notice: Rejection) -> Result<(), Holder> {
        self.connection.evict(&self.key, holder, notice)
    }
}

sluice_policy::export!(Duplicate: on_connect, lifecycle);
