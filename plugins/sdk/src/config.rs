use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;

use crate::host::config as host;
use crate::{Rejection, json, shortened};

/// Section of the policy in the gateway's configuration. Values are JSON.
pub struct Config {
    source: Source,
}

enum Source {
    Host,
    Fixed(Vec<(String, String)>),
}

impl Config {
    /// Configuration that the operator wrote.
    pub fn host() -> Self {
        Self {
            source: Source::Host,
        }
    }

    /// Configuration from keys and their JSON text, for tests of a rule without a gateway.
    pub fn fixed(pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs
            .iter()
            .map(|(key, json)| ((*key).to_owned(), (*json).to_owned()));
        Self {
            source: Source::Fixed(pairs.collect()),
        }
    }

    /// Value by its key, if it is set. If the value has the wrong type, the operator reads `advice`
    /// at the end of the error: "list the tenants to let in".
    pub fn get<T: DeserializeOwned>(
        &self,
        key: &str,
        advice: &str,
    ) -> Result<Option<T>, ConfigError> {
        match self.json(key) {
            None => Ok(None),
            Some(json) => match json::parse(&json) {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(ConfigError::new(key, &json, advice)),
            },
        }
    }

    /// Value that must be set.
    pub fn require<T: DeserializeOwned>(&self, key: &str, advice: &str) -> Result<T, ConfigError> {
        self.get(key, advice)?
            .ok_or_else(|| ConfigError::not_set(key, advice))
    }

    /// List that must not be empty, or `default`.
    pub fn list<T: DeserializeOwned>(
        &self,
        key: &str,
        default: Vec<T>,
        advice: &str,
    ) -> Result<Vec<T>, ConfigError> {
        match self.get::<Vec<T>>(key, advice)? {
            None => Ok(default),
            Some(list) if list.is_empty() => Err(ConfigError::new(key, "[]", advice)),
            Some(list) => Ok(list),
        }
    }

    /// Duration such as `"250ms"`, `"60s"`, `"5m"` or `"1h"`, in milliseconds, or `default`. Never
    /// zero.
    pub fn milliseconds(&self, key: &str, default: u32, advice: &str) -> Result<u32, ConfigError> {
        let Some(json) = self.json(key) else {
            return Ok(default);
        };
        json::parse::<String>(&json)
            .ok()
            .and_then(|text| milliseconds(&text))
            .ok_or_else(|| ConfigError::new(key, &json, advice))
    }

    fn json(&self, key: &str) -> Option<Cow<'_, str>> {
        match &self.source {
            Source::Host => host::get(key).map(Cow::Owned),
            Source::Fixed(pairs) => pairs
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, json)| json.as_str().into()),
        }
    }
}

fn milliseconds(text: &str) -> Option<u32> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let number: u32 = number.parse().ok()?;
    number.checked_mul(factor).filter(|product| *product > 0)
}

/// Value of the policy's configuration by its key, if it is set. Calls [`Config::get`] on
/// [`Config::host`], with advice that fits any value.
pub fn config<T: DeserializeOwned>(key: &str) -> Result<Option<T>, ConfigError> {
    Config::host().get(key, "this is not the type of value that the policy expects")
}

/// Error in the configuration, with advice for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    key: String,
    value: Option<String>,
    advice: String,
}

impl ConfigError {
    /// Error about a value that cannot be used. `value` is cut to 80 characters.
    pub fn new(key: &str, value: &str, advice: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: Some(shortened(value, 80)),
            advice: advice.to_owned(),
        }
    }

    /// Error about a required value that is absent.
    pub fn not_set(key: &str, advice: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: None,
            advice: advice.to_owned(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "`{}` cannot be {value}: {}", self.key, self.advice),
            None => write!(f, "`{}` is not set: {}", self.key, self.advice),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for Rejection {
    /// Refuses the connection. The gateway validates a configuration before it is used, so this is
    /// the second line of defence: nobody is admitted under a rule that cannot be read. The log
    /// gets the reason, and the client does not.
    fn from(error: ConfigError) -> Self {
        Self::new(
            "policy_misconfigured",
            "the gateway's policy is misconfigured",
        )
        .retryable()
        .detail(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, ConfigError};
    use crate::Rejection;

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_key_and_what_to_do() {
        let error =
            Config::fixed(&[("rates", "\"16000\"")]).get::<Vec<u32>>("rates", "list the rates");
        assert_eq!(
            error,
            Err(ConfigError::new("rates", "\"16000\"", "list the rates"))
        );
        assert_eq!(
            error.unwrap_err().to_string(),
            "`rates` cannot be \"16000\": list the rates"
        );
    }

    #[test]
    fn a_required_value_that_is_absent_is_named() {
        let error = Config::fixed(&[])
            .require::<String>("key_set", "name a key set")
            .unwrap_err();
        assert_eq!(error.to_string(), "`key_set` is not set: name a key set");
    }

    #[test]
    fn an_empty_list_is_an_error_and_an_absent_one_the_default() {
        let config = Config::fixed(&[("empty", "[]")]);
        assert!(
            config
                .list::<u32>("empty", vec![1], "list a number")
                .is_err()
        );
        assert_eq!(
            config.list::<u32>("absent", vec![1], "list a number"),
            Ok(vec![1])
        );
    }

    #[test]
    fn a_duration_has_a_unit_and_is_never_zero() {
        let read = |json| Config::fixed(&[("per", json)]).milliseconds("per", 7, "write a time");
        assert_eq!(read("\"250ms\""), Ok(250));
        assert_eq!(read("\"60s\""), Ok(60_000));
        assert_eq!(read("\"1h\""), Ok(3_600_000));
        for wrong in [
            "60",
            "\"60\"",
            "\"s\"",
            "\"0s\"",
            "\"1200h\"",
            "\"1 s\"",
            "\"\"",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            Config::fixed(&[]).milliseconds("per", 7, "write a time"),
            Ok(7)
        );
    }

    #[test]
    fn a_bad_configuration_refuses_and_keeps_the_reason_from_the_client() {
        let mut refusal = Rejection::from(ConfigError::not_set("key_set", "name a key set"));
        assert!(!refusal.message().contains("key_set"));
        assert!(
            refusal
                .take_detail()
                .is_some_and(|detail| detail.contains("key_set"))
        );
    }
}
