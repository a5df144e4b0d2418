//! Lets in one connection for a key, such as a meeting and its source.
//!
//! The gateway keeps the claims and releases them; which key, and who may
//! take it from whom, is decided here.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod declare;
mod fact;
mod rule;

use fact::Fact;
use rule::{Lease, Rule};
use sluice_policy::{
    Config, ConfigError, Connection, Decision, Holder, Lifecycle, OnConnect, Rejection,
};

struct Duplicate;

impl OnConnect for Duplicate {
    fn decide(connection: &Connection) -> Decision {
        let rule = Rule::from_config(&Config::host())?;
        let key = rule.key(|fact| read(connection, fact));
        rule::check_length(&key)?;
        let user = connection.attribute(&rule.user);
        rule.admit(&mut Claimed { connection, key }, user.as_deref())
    }
}

impl Lifecycle for Duplicate {
    fn validate_config() -> Result<(), ConfigError> {
        let config = Config::host();
        let rule = Rule::from_config(&config)?;
        declare::references(&config)?;
        declare::no_effect(&rule, &config)
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

impl Lease for Claimed<'_> {
    fn claim(&mut self) -> Result<(), Holder> {
        self.connection.claim(&self.key)
    }

    fn evict(&mut self, holder: &Holder, notice: Rejection) -> Result<(), Holder> {
        self.connection.evict(&self.key, holder, notice)
    }
}

sluice_policy::export!(Duplicate: on_connect, lifecycle);

#[cfg(test)]
mod tests {
    use sluice_policy::testing::Mock;
    use sluice_policy::{Decision, OnConnect as _};

    use super::Duplicate;

    const KEY: &str = r#"["t","m1","mic"]"#;

    /// A connection of a user's to the one meeting and source that there are.
    fn connect(mock: &Mock, session: &str, user: &str) -> Decision {
        mock.session_id(session)
            .param("meeting_id", "m1")
            .query("source", "mic")
            .attribute("auth.tenant_id", "t")
            .attribute("auth.user_id", user);
        Duplicate::decide(&mock.connection())
    }

    #[test]
    fn a_second_user_of_a_meeting_and_source_is_refused() {
        let mock = Mock::new("duplicate");
        assert_eq!(connect(&mock, "s1", "u"), Ok(()));
        assert_eq!(connect(&mock, "s1", "u"), Ok(()), "it holds the key itself");
        assert_eq!(
            connect(&mock, "s2", "other").unwrap_err().code(),
            "ingest_exists"
        );
        assert_eq!(mock.holder_of(KEY).as_deref(), Some("s1"));
        mock.session_id("s2").query("source", "sys");
        assert_eq!(Duplicate::decide(&mock.connection()), Ok(()));
    }

    #[test]
    fn the_same_user_takes_over_and_another_does_not() {
        let mock = Mock::new("duplicate");
        assert_eq!(connect(&mock, "s1", "u"), Ok(()));
        assert!(connect(&mock, "s2", "somebody-else").is_err());
        assert_eq!(mock.evicted(), []);
        assert_eq!(connect(&mock, "s3", "u"), Ok(()));
        let evicted = mock.evicted();
        let told: Vec<_> = evicted
            .iter()
            .map(|it| (it.session_id.as_str(), it.notice.code()))
            .collect();
        assert_eq!(told, [("s1", "superseded")]);
        assert_eq!(mock.holder_of(KEY).as_deref(), Some("s3"));
    }
}
