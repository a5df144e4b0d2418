//! What the gateway is told of the options that the operator wrote. The defaults name what most
//! configurations have; one that does not have it works all the same.

use sluice_policy::{Config, ConfigError, references};

use crate::fact::Fact;
use crate::rule::{DEFAULT_USER, KEY, Mode, Rule, SAME_USER, USER};

const HELP: &str = "leave it out, or write `mode = \"reject\"` and `same_user = \"takeover\"`";

/// Declares what the options refer to.
pub fn references(config: &Config) -> Result<(), ConfigError> {
    let key: Option<Vec<String>> = config.get("key", KEY)?;
    for (index, name) in key.iter().flatten().enumerate() {
        refer(&format!("/key/{index}"), name);
    }
    if let Some(user) = config.get::<String>("user", USER)? {
        refer("/user", &user);
    }
    Ok(())
}

fn refer(option: &str, name: &str) {
    match Fact::parse(name) {
        Some(Fact::Param(param)) => references::param(option, &param),
        Some(Fact::Attribute(attribute)) => references::attribute(option, &attribute),
        Some(Fact::Route | Fact::Path | Fact::Query(_) | Fact::Header(_)) | None => {}
    }
}

/// Declares which options have no effect. Who somebody is does not matter where everybody, or
/// nobody, replaces the first connection.
pub fn no_effect(rule: &Rule, config: &Config) -> Result<(), ConfigError> {
    let takeover = rule.mode == Mode::Takeover;
    let nobody = rule.same_user == Mode::Reject;
    if takeover && nobody && config.get::<String>("same_user", SAME_USER)?.is_some() {
        let why = "`mode = \"takeover\"` lets everybody replace the first";
        references::no_effect("/same_user", why, HELP);
    }
    if (takeover || nobody) && rule.user != DEFAULT_USER {
        let why = "nothing that is written here depends on who the user is";
        references::no_effect("/user", why, HELP);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sluice_policy::Lifecycle as _;
    use sluice_policy::testing::Mock;

    use crate::Duplicate;

    fn declared(options: &[(&str, &str)]) -> Vec<String> {
        let mock = Mock::new("duplicate");
        for (key, json) in options {
            mock.config(key, json);
        }
        assert_eq!(Duplicate::validate_config(), Ok(()));
        mock.references()
    }

    #[test]
    fn what_the_operator_wrote_is_declared_and_a_default_is_not() {
        assert_eq!(declared(&[]), Vec::<String>::new());
        let key = r#"["route", "param.meeting_id", "query.source", "auth.tenant_id"]"#;
        assert_eq!(
            declared(&[("key", key), ("user", r#""auth.email""#)]),
            [
                "param /key/1 meeting_id",
                "attribute /key/3 auth.tenant_id",
                "attribute /user auth.email",
            ]
        );
    }

    #[test]
    fn an_option_that_another_makes_meaningless_has_no_effect() {
        let takeover = ("mode", r#""takeover""#);
        let nobody = ("same_user", r#""reject""#);
        let email = ("user", r#""auth.email""#);
        for (options, option) in [
            (vec![takeover, nobody], "no_effect /same_user `mode"),
            (vec![takeover, email], "no_effect /user nothing"),
            (vec![nobody, email], "no_effect /user nothing"),
        ] {
            let last = declared(&options).pop().unwrap_or_default();
            assert!(last.starts_with(option), "{options:?}: {last}");
        }
        for options in [
            vec![takeover],
            vec![takeover, ("same_user", r#""takeover""#)],
            vec![nobody, ("user", r#""auth.user_id""#)],
            vec![email],
        ] {
            let declared = declared(&options);
            assert!(
                !declared.iter().any(|line| line.starts_with("no_effect")),
                "{options:?}: {declared:?}"
            );
        }
    }
}
