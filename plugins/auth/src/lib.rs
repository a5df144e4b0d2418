//! Lets in who carries a valid token with the right claims.
//!
//! The gateway verifies the token; which claims it must carry, and which must
//! agree with the path, is decided here. Later policies find `email`,
//! `user_id` and `tenant_id` as attributes of this one.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod rule;

use rule::Rule;
use sluice_policy::{Config, ConfigError, Connection, Decision, Lifecycle, OnConnect};

/// The claims that become attributes, under their own names.
const ATTRIBUTES: [&str; 3] = ["email", "user_id", "tenant_id"];

struct Auth;

impl OnConnect for Auth {
    fn decide(connection: &Connection) -> Decision {
        let rule = Rule::from_config(&Config::host())?;
        let claims = connection.verify_token(&rule.key_set)?;
        rule.check(|name| claims.claim(name), |name| connection.param(name))?;
        for name in ATTRIBUTES {
            if let Some(value) = claims.claim(name) {
                connection.set_attribute(name, &value);
            }
        }
        Ok(())
    }
}

impl Lifecycle for Auth {
    fn validate_config() -> Result<(), ConfigError> {
        Rule::from_config(&Config::host()).map(drop)
    }
}

sluice_policy::export!(Auth: on_connect, lifecycle);
