use serde::Deserialize;
use serde_json::Value;
use sluice_policy::{Config, ConfigError, Decision, Handshake, Rejection, quoted};

const RATES: &str = "list the sample rates to let in, in hertz, such as [16000, 48000]";
const CHANNELS: &str = "list the numbers of channels to let in, such as [1]";
const CODECS: &str = "list the names of the codecs to let in, such as [\"pcm_s16le\"]";

/// What a client gets that names no codec: the only one that older clients
/// have.
const DEFAULT_CODEC: &str = "pcm_s16le";

/// Which audio is let in.
#[derive(Debug)]
pub struct Rule {
    rates: Vec<u32>,
    channels: Vec<u32>,
    codecs: Vec<String>,
}

/// The fields may be of any type, so that one of the wrong type is refused
/// like any other value that is not expected.
#[derive(Deserialize)]
struct Format {
    sample_rate: Option<Value>,
    channels: Option<Value>,
    codec: Option<Value>,
}

impl Rule {
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let codecs = config.list("codecs", vec![DEFAULT_CODEC.to_owned()], CODECS)?;
        if codecs.iter().any(String::is_empty) {
            return Err(ConfigError::new(
                "codecs",
                "a list with an empty name",
                CODECS,
            ));
        }
        Ok(Self {
            rates: numbers(config, "rates", 16_000, RATES)?,
            channels: numbers(config, "channels", 1, CHANNELS)?,
            codecs,
        })
    }

    pub fn check(&self, handshake: &Handshake) -> Decision {
        let format: Format = handshake.parse()?;
        // The gateway asks for the rate; without one there is none to let in.
        self.check_rate(&format.sample_rate.unwrap_or(Value::Null))?;
        self.check_channels(&format.channels.unwrap_or(Value::from(1)))?;
        self.check_codec(&format.codec.unwrap_or(Value::from(DEFAULT_CODEC)))
    }

    fn check_rate(&self, asked: &Value) -> Decision {
        if is_one_of(asked, &self.rates) {
            return Ok(());
        }
        let (asked, rates) = (shown(asked), any_of(&self.rates));
        let message = format!("Invalid sample rate {asked}, expected {rates}");
        Err(Rejection::new("invalid_sample_rate", message).close_code(4000))
    }

    fn check_channels(&self, asked: &Value) -> Decision {
        if is_one_of(asked, &self.channels) {
            return Ok(());
        }
        let (asked, channels) = (shown(asked), any_of(&self.channels));
        Err(Rejection::handshake_invalid(format!(
            "Invalid channels {asked}, expected {channels}"
        )))
    }

    fn check_codec(&self, asked: &Value) -> Decision {
        if self.codecs.iter().any(|codec| asked == codec) {
            return Ok(());
        }
        let (asked, codecs) = (shown(asked), any_of(&self.codecs));
        Err(Rejection::handshake_invalid(format!(
            "Invalid codec {asked}, expected {codecs}"
        )))
    }
}

fn numbers(
    config: &Config,
    key: &str,
    default: u32,
    advice: &str,
) -> Result<Vec<u32>, ConfigError> {
    let list = config.list(key, vec![default], advice)?;
    if list.contains(&0) {
        return Err(ConfigError::new(key, "a list with a zero", advice));
    }
    Ok(list)
}

/// Compared as fractions, which hold every `u32` exactly, because some clients
/// write all their numbers that way: 16000.0.
fn is_one_of(value: &Value, numbers: &[u32]) -> bool {
    let asked = value.as_f64();
    numbers
        .iter()
        .any(|number| asked == Some(f64::from(*number)))
}

/// A value as far as it fits into a sentence.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(_) => "[…]".to_owned(),
        Value::Object(_) => "{…}".to_owned(),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.to_string(),
            (None, Some(number)) => number.to_string(),
            // The code that prints fractions is large, and no client needs it.
            (None, None) => "(not a whole number)".to_owned(),
        },
    }
}

/// `8000, 16000 or 48000`
fn any_of<T: ToString>(values: &[T]) -> String {
    let mut sentence = String::new();
    for (index, value) in values.iter().enumerate() {
        sentence.push_str(match index {
            0 => "",
            _ if index + 1 == values.len() => " or ",
            _ => ", ",
        });
        sentence.push_str(&value.to_string());
    }
    sentence
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
