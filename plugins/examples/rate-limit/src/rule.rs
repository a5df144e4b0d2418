use sluice_policy::{Config, ConfigError, Decision, Rejection, quoted, references};

const ATTEMPTS: &str = "write how many attempts are let in, such as 10";
const PER: &str = "write the time in which they are counted, such as \"1m\"";
const KEY: &str = "list what tells callers apart: `remote`, `param.NAME`, or what an earlier policy left, such as \
                   `auth.user_id`";
const COUNT: &str =
    "write \"all\", or \"refused\" to take back the attempts that got as far as to stream";

/// Bytes of a key. Longer ones share a counter with those that begin alike:
/// a caller must not get a counter of their own by a longer name.
const MAX_KEY: usize = 200;

/// How many attempts a caller has.
#[derive(Debug)]
pub struct Rule {
    attempts: i64,
    pub per_ms: u32,
    key: Vec<String>,
    count: Count,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    All,
    Refused,
}

impl Rule {
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let attempts = config.get("attempts", ATTEMPTS)?.unwrap_or(10);
        if attempts < 1 {
            return Err(ConfigError::new(
                "attempts",
                &attempts.to_string(),
                ATTEMPTS,
            ));
        }
        let key = config.list("key", vec!["remote".to_owned()], KEY)?;
        if let Some(unknown) = key.iter().find(|name| !is_known(name)) {
            return Err(ConfigError::new("key", &quoted(unknown), KEY));
        }
        let count = match config.get::<String>("count", COUNT)?.as_deref() {
            None | Some("all") => Count::All,
            Some("refused") => Count::Refused,
            Some(other) => return Err(ConfigError::new("count", &quoted(other), COUNT)),
        };
        Ok(Self {
            attempts,
            per_ms: config.milliseconds("per", 60_000, PER)?,
            key,
            count,
        })
    }

    /// Tells the gateway what must be there for this rule.
    pub fn declare(&self) {
        for (index, name) in self.key.iter().enumerate() {
            let option = format!("/key/{index}");
            match name.split_once('.') {
                None => {}
                Some(("param", param)) => references::param(&option, param),
                Some(_) => references::attribute(&option, name),
            }
        }
    }

    /// What a caller's attempts are counted under. Lengths keep the parts
    /// apart, so that no caller can look like another.
    pub fn key(&self, read: impl Fn(&str) -> Option<String>) -> String {
        let mut key = String::new();
        for name in &self.key {
            match read(name) {
                Some(value) => key.push_str(&format!("{}:{value},", value.len())),
                None => key.push_str("-,"),
            }
        }
        key.truncate(key.floor_char_boundary(MAX_KEY));
        key
    }

    pub fn admit(&self, attempts: i64) -> Decision {
        if attempts <= self.attempts {
            return Ok(());
        }
        Err(Rejection::new("too_many_attempts", "too many attempts")
            .close_code(4129)
            .retry_after_ms(self.per_ms))
    }

    pub fn takes_back(&self, streamed: bool) -> bool {
        self.count == Count::Refused && streamed
    }
}

fn is_known(name: &str) -> bool {
    match name.split_once('.') {
        None => name == "remote",
        Some((owner, rest)) => {
            !owner.is_empty() && !rest.is_empty() && !["query", "header"].contains(&owner)
        }
    }
}

/// An address without its port, which is another for every connection.
pub fn address(remote: &str) -> &str {
    remote
        .rsplit_once(':')
        .map_or(remote, |(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pairs: &[(&str, &str)]) -> Rule {
        Rule::from_config(&Config::fixed(pairs)).unwrap()
    }

    #[test]
    fn so_many_attempts_are_let_in_and_the_next_is_told_when_to_come_back() {
        let rule = rule(&[("attempts", "2"), ("per", "\"10s\"")]);
        assert_eq!((rule.admit(1), rule.admit(2)), (Ok(()), Ok(())));
        let refusal = rule.admit(3).unwrap_err();
        assert_eq!(refusal.code(), "too_many_attempts");
        assert!(refusal.is_retryable());
        assert_eq!(rule.per_ms, 10_000);
    }

    #[test]
    fn a_stream_is_taken_back_only_where_the_refused_are_counted() {
        assert!(!rule(&[]).takes_back(true));
        let refused = rule(&[("count", "\"refused\"")]);
        assert!(refused.takes_back(true) && !refused.takes_back(false));
    }

    #[test]
    fn no_caller_looks_like_another() {
        let rule = rule(&[("key", "[\"param.a\", \"auth.b\"]")]);
        let key = |a: &'static str, b: Option<&'static str>| {
            rule.key(|name| {
                if name == "param.a" {
                    Some(a.to_owned())
                } else {
                    b.map(str::to_owned)
                }
            })
        };
        assert_ne!(key("x,1:y", Some("z")), key("x", Some("y,1:z")));
        assert_ne!(key("x", None), key("x", Some("-")));
        assert!(key("ğ", Some("x")).len() < MAX_KEY);
        let long = rule.key(|_| Some("ğ".repeat(300)));
        assert!(long.len() <= MAX_KEY);
    }

    #[test]
    fn an_address_is_the_same_on_every_port() {
        assert_eq!(address("192.0.2.1:5000"), "192.0.2.1");
        assert_eq!(address("[2001:db8::1]:5000"), "[2001:db8::1]");
    }

    #[test]
    fn mistakes_are_named_with_what_to_do() {
        for (key, json) in [
            ("attempts", "0"),
            ("attempts", "\"many\""),
            ("per", "\"soon\""),
            ("key", "[\"query.source\"]"),
            ("key", "[\"ip\"]"),
            ("count", "\"some\""),
        ] {
            let mistake = Rule::from_config(&Config::fixed(&[(key, json)])).unwrap_err();
            assert!(
                mistake
                    .to_string()
                    .starts_with(&format!("`{key}` cannot be")),
                "{mistake}"
            );
        }
    }
}
