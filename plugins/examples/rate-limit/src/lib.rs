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
        let rule = Rule::from_config(&Config::host())?;
        rule.declare();
        Ok(())
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

#[cfg(test)]
mod tests {
    use sluice_policy::testing::{Ended, Mock};
    use sluice_policy::{Decision, Lifecycle as _, OnClose as _, OnConnect as _};

    use super::RateLimit;

    fn mock(count: &str) -> Mock {
        let mock = Mock::new("rate-limit");
        mock.config("attempts", "2").config("per", "\"10s\"");
        mock.config("count", count);
        mock
    }

    fn attempt(mock: &Mock) -> Decision {
        RateLimit::decide(&mock.connection())
    }

    fn code(decision: Decision) -> String {
        decision.unwrap_err().code().to_owned()
    }

    #[test]
    fn the_gateway_is_told_what_callers_are_told_apart_by() {
        let mock = mock("\"all\"");
        mock.config("key", r#"["remote", "param.room", "auth.user_id"]"#);
        assert_eq!(RateLimit::validate_config(), Ok(()));
        assert_eq!(
            mock.references(),
            ["param /key/1 room", "attribute /key/2 auth.user_id"]
        );
    }

    #[test]
    fn attempts_are_counted_by_address_until_their_time_is_over() {
        let mock = mock("\"all\"");
        assert_eq!((attempt(&mock), attempt(&mock)), (Ok(()), Ok(())));
        mock.remote_addr("192.0.2.1:50001");
        assert_eq!(code(attempt(&mock)), "too_many_attempts");
        mock.remote_addr("192.0.2.2:50001");
        assert_eq!(attempt(&mock), Ok(()));
        mock.remote_addr("192.0.2.1:50002").pass(10_000);
        assert_eq!(attempt(&mock), Ok(()));
    }

    #[test]
    fn a_stream_is_taken_back_once_and_never_below_nothing() {
        let mock = mock("\"refused\"");
        let end = |streamed| {
            let ended = Ended {
                streamed,
                ..Ended::default()
            };
            RateLimit::closed(&mock.connection(), &ended.ending());
        };
        for _ in 0..4 {
            assert_eq!(attempt(&mock), Ok(()));
            end(true);
        }
        assert_eq!(attempt(&mock), Ok(()));
        end(false);
        end(true);
        end(true);
        assert_eq!((attempt(&mock), attempt(&mock)), (Ok(()), Ok(())));
        assert_eq!(code(attempt(&mock)), "too_many_attempts");
    }

    #[test]
    fn a_flood_of_new_callers_is_refused_and_told_no_more() {
        let mock = mock("\"all\"");
        mock.max_counters(1);
        assert_eq!(attempt(&mock), Ok(()));
        mock.remote_addr("192.0.2.2:50001");
        assert_eq!(code(attempt(&mock)), "policy_unavailable");
    }
}
