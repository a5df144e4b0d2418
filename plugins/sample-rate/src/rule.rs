use serde::Deserialize;
use sluice_policy::{Config, ConfigError, Decision, Handshake, Rejection};

use crate::asked::Asked;

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
/// like any other value that is not expected. The rest of the message is passed
/// over.
#[derive(Deserialize)]
struct Format {
    sample_rate: Option<Asked>,
    channels: Option<Asked>,
    codec: Option<Asked>,
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
        self.check_rate(&format.sample_rate.unwrap_or(Asked::Null))?;
        self.check_channels(&format.channels.unwrap_or(Asked::Whole(1)))?;
        let default = || Asked::Text(DEFAULT_CODEC.to_owned());
        self.check_codec(&format.codec.unwrap_or_else(default))
    }

    fn check_rate(&self, asked: &Asked) -> Decision {
        if asked.is_one_of(&self.rates) {
            return Ok(());
        }
        let rates = any_of(&self.rates);
        let message = format!("Invalid sample rate {asked}, expected {rates}");
        Err(Rejection::new("invalid_sample_rate", message).close_code(4000))
    }

    fn check_channels(&self, asked: &Asked) -> Decision {
        if asked.is_one_of(&self.channels) {
            return Ok(());
        }
        let channels = any_of(&self.channels);
        Err(Rejection::handshake_invalid(format!(
            "Invalid channels {asked}, expected {channels}"
        )))
    }

    fn check_codec(&self, asked: &Asked) -> Decision {
        if matches!(asked, Asked::Text(asked) if self.codecs.contains(asked)) {
            return Ok(());
        }
        let codecs = any_of(&self.codecs);
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
