//! Lets in who carries a valid token with the right claims.
//!
//! The gateway verifies the token; which claims it must carry, and which must
//! agree with the path, is decided here. Later policies find `email`,
//! `user_id` and `tenant_id` as attributes of this one.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod rule;

use rule::Rule;
use sluice_policy::{
    Config, ConfigError, Connection, Decision, Lifecycle, OnConnect, Rejection, references,
};

/// The claims that become attributes, under their own names.
const ATTRIBUTES: [&str; 3] = ["email", "user_id", "tenant_id"];

/// Bytes of a claim that becomes an attribute. The longest address of a mailbox
/// has 254; a gateway takes 1 KiB with the name, unless its operator says less.
const MAX_CLAIM: usize = 1000;

struct Auth;

impl OnConnect for Auth {
    fn decide(connection: &Connection) -> Decision {
        let rule = Rule::from_config(&Config::host())?;
        let claims = connection.verify_token(&rule.key_set)?;
        rule.check(|name| claims.claim(name), |name| connection.param(name))?;
        for name in ATTRIBUTES {
            if let Some(value) = claims.claim(name) {
                if value.len() > MAX_CLAIM {
                    let message = format!("auth failed: claim {name} is too long");
                    return Err(Rejection::auth_failed(message));
                }
                connection.set_attribute(name, &value);
            }
        }
        Ok(())
    }
}

impl Lifecycle for Auth {
    fn validate_config() -> Result<(), ConfigError> {
        let rule = Rule::from_config(&Config::host())?;
        rule.declare();
        ATTRIBUTES.iter().copied().for_each(references::leaves);
        Ok(())
    }
}

sluice_policy::export!(Auth: on_connect, lifecycle);

#[cfg(test)]
mod tests {
    use sluice_policy::testing::Mock;
    use sluice_policy::{Decision, Lifecycle as _, OnConnect as _, Rejection, TokenError};

    use super::Auth;

    fn mock() -> Mock {
        let mock = Mock::new("auth");
        mock.config("key_set", "\"main\"");
        mock
    }

    fn decide(mock: &Mock) -> Decision {
        Auth::decide(&mock.connection())
    }

    #[test]
    fn who_carries_a_good_token_gets_in_and_is_known_to_later_policies() {
        let mock = mock();
        mock.token("main", Ok(r#"{"user_id":"u","tenant_id":"t","role":"r"}"#));
        assert_eq!(decide(&mock), Ok(()));
        let left = |name| mock.connection().attribute(name);
        assert_eq!(left("auth.user_id").as_deref(), Some("u"));
        assert_eq!(left("auth.tenant_id").as_deref(), Some("t"));
        assert_eq!((left("auth.email"), left("auth.role")), (None, None));
    }

    #[test]
    fn who_carries_a_claim_that_is_too_long_is_told_which_one() {
        for name in ["email", "user_id", "tenant_id"] {
            let decide = |length: usize| {
                let mock = mock();
                let mut claims = vec![("user_id", "u".to_owned()), ("tenant_id", "t".to_owned())];
                claims.retain(|(claim, _)| *claim != name);
                claims.push((name, "x".repeat(length)));
                let members = claims
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":\"{value}\""));
                let members = members.collect::<Vec<_>>().join(",");
                mock.token("main", Ok(&format!("{{{members}}}")));
                decide(&mock)
            };
            assert_eq!(decide(1000), Ok(()));
            let message = format!("auth failed: claim {name} is too long");
            assert_eq!(decide(1001), Err(Rejection::auth_failed(message)));
        }
    }

    #[test]
    fn a_token_of_another_key_set_is_none() {
        let mock = mock();
        mock.token("other", Ok(r#"{"user_id":"u","tenant_id":"t"}"#));
        assert_eq!(decide(&mock), Err(TokenError::Missing.into()));
    }

    #[test]
    fn who_is_refused_leaves_nothing_behind() {
        let mock = mock();
        mock.config("path_claims", r#"{"meeting_id":"meeting"}"#);
        mock.param("meeting", "m1").token(
            "main",
            Ok(r#"{"user_id":"u","tenant_id":"t","meeting_id":"m2"}"#),
        );
        let elsewhere = "auth failed: claim meeting_id does not match the path";
        assert_eq!(decide(&mock), Err(Rejection::auth_failed(elsewhere)));
        assert_eq!(mock.connection().attribute("auth.user_id"), None);
    }

    #[test]
    fn the_gateway_is_told_what_the_options_refer_to_and_what_is_left() {
        let mock = mock();
        mock.config("path_claims", r#"{"meeting_id":"meeting","a/b":"tenant"}"#);
        assert_eq!(Auth::validate_config(), Ok(()));
        assert_eq!(
            mock.references(),
            [
                "key_set /key_set main",
                "param /path_claims/a~1b tenant",
                "param /path_claims/meeting_id meeting",
                "leaves email",
                "leaves user_id",
                "leaves tenant_id",
            ]
        );
    }

    #[test]
    fn without_a_usable_configuration_it_neither_loads_nor_admits() {
        let mock = Mock::new("auth");
        mock.token("main", Ok(r#"{"user_id":"u","tenant_id":"t"}"#));
        assert!(Auth::validate_config().is_err());
        assert_eq!(decide(&mock).unwrap_err().code(), "policy_misconfigured");
        mock.config("key_set", "\"main\"");
        assert_eq!(Auth::validate_config(), Ok(()));
    }
}
