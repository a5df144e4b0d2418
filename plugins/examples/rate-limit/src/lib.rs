//! Lets in so many attempts within a time for each caller.
//!
//! An attempt that got as far as to stream is taken back when the connection
//! ends, if the operator wants that: then only those count that were refused.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod rule;

use rule::Rule;
use sluice_policy::{
    Config, ConfigError, Connection, Decision, Ending, Lifecycle, OnClose, OnConnect, counters, log,
};

struct RateLimit;

impl OnConnect for RateLimit {
    fn decide(connection: &Connection) -> Decision {
        let rule = Rule::from_config(&Config::host())?;
        let key = key(&rule, connection);
        // One step: of two attempts at once, both are counted.
        let attempts = counters::add(&key, 1, rule.per_ms)?;
        rule.admit(attempts)
    }
}

impl OnClose for RateLimit {
    fn closed(connection: &Connection, ending: &Ending) {
        let Ok(rule) = Rule::from_config(&Config::host()) else {
            return;
        };
        if !rule.takes_back(ending.streamed()) {
            return;
        }
        let key = key(&rule, connection);
        // A counter that has ended meanwhile must not begin again below zero.
        let taken_back = counters::get(&key).and_then(|attempts| {
            let back = if attempts > 0 { -1 } else { 0 };
            counters::add(&key, back, rule.per_ms)
        });
        if let Err(error) = taken_back {
            log::warn(&error.to_string());
        }
    }
}

impl Lifecycle for RateLimit {
    fn validate_config() -> Result<(), ConfigError> {
        Rule::from_config(&Config::host()).map(drop)
    }
}

fn key(rule: &Rule, connection: &Connection) -> String {
    rule.key(|name| match name.split_once('.') {
        None => Some(rule::address(&connection.remote_addr()).to_owned()),
        Some(("param", name)) => connection.param(name),
        Some(_) => connection.attribute(name),
    })
}

sluice_policy::export!(RateLimit: on_connect, on_close, lifecycle);
