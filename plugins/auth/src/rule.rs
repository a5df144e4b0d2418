use std::collections::BTreeMap;

use sluice_policy::{Config, ConfigError, Decision, Rejection, pointer, references};

const KEY_SET: &str = "name the key set that tokens are verified against, such as \"main\"";
const REQUIRED: &str =
    "list the names of the claims that a token must carry, such as [\"user_id\", \"tenant_id\"]";
const PATH: &str = "write a table from a claim to the path parameter that it must equal, such as \
                    { meeting_id = \"meeting_id\" }";

/// What a token must say beyond being valid.
#[derive(Debug)]
pub struct Rule {
    pub key_set: String,
    required: Vec<String>,
    path: BTreeMap<String, String>,
}

impl Rule {
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let key_set: String = config.require("key_set", KEY_SET)?;
        if key_set.trim().is_empty() {
            return Err(ConfigError::new("key_set", "\"\"", KEY_SET));
        }
        let default = vec!["user_id".to_owned(), "tenant_id".to_owned()];
        let required = config.list("required_claims", default, REQUIRED)?;
        if required.iter().any(String::is_empty) {
            return Err(ConfigError::new(
                "required_claims",
                "a list with an empty name",
                REQUIRED,
            ));
        }
        let path: BTreeMap<String, String> = config.get("path_claims", PATH)?.unwrap_or_default();
        if path
            .iter()
            .any(|(claim, param)| claim.is_empty() || param.is_empty())
        {
            return Err(ConfigError::new(
                "path_claims",
                "a table with an empty name",
                PATH,
            ));
        }
        Ok(Self {
            key_set,
            required,
            path,
        })
    }

    /// Tells the gateway what must be there for this rule.
    pub fn declare(&self) {
        references::key_set("/key_set", &self.key_set);
        for (claim, param) in &self.path {
            let option = format!("/path_claims{}", pointer(claim));
            references::param(&option, param);
        }
    }

    /// `claim` and `param` look up a claim of the verified token and a
    /// parameter of the path.
    pub fn check(
        &self,
        claim: impl Fn(&str) -> Option<String>,
        param: impl Fn(&str) -> Option<String>,
    ) -> Decision {
        // An empty claim identifies nobody, so it counts as missing.
        let claim = |name: &str| claim(name).filter(|value| !value.is_empty());
        for name in &self.required {
            if claim(name).is_none() {
                return Err(Rejection::auth_failed(format!(
                    "auth failed: missing claim {name}"
                )));
            }
        }
        for (name, parameter) in &self.path {
            let message = match (claim(name), param(parameter)) {
                (None, _) => format!("auth failed: missing claim {name}"),
                (Some(claimed), Some(asked)) if claimed == asked => continue,
                (Some(_), Some(_)) => format!("auth failed: claim {name} does not match the path"),
                (Some(_), None) => {
                    let detail = format!(
                        "`path_claims` names the path parameter `{parameter}`, which this route does not have"
                    );
                    let message = format!("auth failed: claim {name} does not match the path");
                    return Err(Rejection::auth_failed(message).detail(detail));
                }
            };
            return Err(Rejection::auth_failed(message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sluice_policy::{Config, Decision, Rejection};

    use super::Rule;

    fn rule(pairs: &[(&str, &str)]) -> Rule {
        let mut all = vec![("key_set", "\"main\"")];
        all.extend(pairs);
        Rule::from_config(&Config::fixed(&all)).unwrap()
    }

    fn mistake(pairs: &[(&str, &str)]) -> String {
        Rule::from_config(&Config::fixed(pairs))
            .unwrap_err()
            .to_string()
    }

    fn check(rule: &Rule, claims: &[(&str, &str)], params: &[(&str, &str)]) -> Decision {
        let find = |pairs: &[(&str, &str)], name: &str| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        rule.check(|name| find(claims, name), |name| find(params, name))
    }

    fn refused(message: &str) -> Decision {
        Err(Rejection::auth_failed(message))
    }

    const WHO: [(&str, &str); 2] = [("user_id", "u1"), ("tenant_id", "t1")];

    #[test]
    fn user_and_tenant_are_required_by_default() {
        let rule = rule(&[]);
        assert_eq!(check(&rule, &WHO, &[]), Ok(()));
        assert_eq!(
            check(&rule, &WHO[..1], &[]),
            refused("auth failed: missing claim tenant_id")
        );
        assert_eq!(
            check(&rule, &WHO[1..], &[]),
            refused("auth failed: missing claim user_id")
        );
    }

    #[test]
    fn an_empty_claim_counts_as_missing() {
        let claims = [("user_id", ""), ("tenant_id", "t1")];
        assert_eq!(
            check(&rule(&[]), &claims, &[]),
            refused("auth failed: missing claim user_id")
        );
    }

    #[test]
    fn the_operator_says_which_claims_are_required() {
        let rule = rule(&[("required_claims", r#"["sub"]"#)]);
        assert_eq!(check(&rule, &[("sub", "s")], &[]), Ok(()));
        assert_eq!(
            check(&rule, &WHO, &[]),
            refused("auth failed: missing claim sub")
        );
    }

    #[test]
    fn a_claim_that_is_tied_to_the_path_must_be_there_and_equal() {
        let rule = rule(&[
            ("required_claims", r#"["user_id"]"#),
            ("path_claims", r#"{"meeting_id":"meeting"}"#),
        ]);
        let with = |meeting| [WHO[0], ("meeting_id", meeting)];
        let path = [("meeting", "m1")];
        let elsewhere = "auth failed: claim meeting_id does not match the path";
        assert_eq!(check(&rule, &with("m1"), &path), Ok(()));
        assert_eq!(check(&rule, &with("m2"), &path), refused(elsewhere));
        assert_eq!(check(&rule, &with("M1"), &path), refused(elsewhere));
        assert_eq!(
            check(&rule, &WHO, &path),
            refused("auth failed: missing claim meeting_id")
        );
    }

    #[test]
    fn a_claim_never_matches_a_parameter_that_is_absent_or_empty() {
        let rule = rule(&[("path_claims", r#"{"meeting_id":"meeting"}"#)]);
        let with = |meeting| [WHO[0], WHO[1], ("meeting_id", meeting)];
        assert!(check(&rule, &with("m1"), &[]).is_err());
        assert!(check(&rule, &with(""), &[("meeting", "")]).is_err());
        assert!(check(&rule, &WHO, &[]).is_err());
    }

    #[test]
    fn a_key_set_must_be_named() {
        assert!(mistake(&[]).starts_with("`key_set` is not set: name the key set"));
        assert!(mistake(&[("key_set", "7")]).starts_with("`key_set` cannot be 7: "));
        assert!(mistake(&[("key_set", "\"\"")]).starts_with("`key_set` cannot be \"\": "));
    }

    #[test]
    fn lists_and_tables_of_the_wrong_shape_are_named() {
        let with = |key, json| mistake(&[("key_set", "\"main\""), (key, json)]);
        assert!(
            with("required_claims", "\"user_id\"")
                .contains("`required_claims` cannot be \"user_id\"")
        );
        assert!(with("required_claims", "[]").contains("`required_claims` cannot be []"));
        assert!(with("required_claims", "[\"\"]").contains("an empty name"));
        assert!(with("path_claims", "[\"meeting_id\"]").contains("`path_claims` cannot be"));
        assert!(with("path_claims", "{\"meeting_id\":\"\"}").contains("an empty name"));
    }
}
