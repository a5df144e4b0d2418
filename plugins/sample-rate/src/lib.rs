//! Lets in audio that the service understands: sample rate, channels, codec.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod asked;
mod rule;

use rule::Rule;
use sluice_policy::{Config, ConfigError, Connection, Decision, Handshake, Lifecycle, OnHandshake};

struct SampleRate;

impl OnHandshake for SampleRate {
    fn decide(_: &Connection, handshake: &Handshake) -> Decision {
        Rule::from_config(&Config::host())?.check(handshake)
    }
}

impl Lifecycle for SampleRate {
    fn validate_config() -> Result<(), ConfigError> {
        Rule::from_config(&Config::host()).map(drop)
    }
}

sluice_policy::export!(SampleRate: on_handshake, lifecycle);
