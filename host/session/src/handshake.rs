//! First message of a client on an `ingest.v1` route.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use base::text;

/// Protocol that a route's clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeMode {
    /// JSON handshake, ack and control messages of `ingest.v1`.
    IngestV1,
    /// None: messages pass unchanged.
    None,
}

/// Handshake of a client. Unknown fields are ignored, so that newer clients can connect.
///
/// The message itself is read by [`Handshake::parse`]. The other form is the gateway's own record of
/// what it has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// `mic` or `sys` (or `system`), if the client names it.
    pub source: Option<String>,
    /// Samples per second and channel. At least 1.
    pub sample_rate: u32,
    /// Number of interleaved channels. At least 1.
    pub channels: u16,
    /// Encoding of the samples.
    pub codec: String,
    /// Device id. Deployed clients choose a new random one for each connection, so it does not
    /// identify them.
    pub device_id: String,
    /// Spoken language, as the client names it.
    pub language: Option<String>,
    /// Name of the client software.
    pub client: Option<String>,
    /// Version of the client software.
    pub version: Option<String>,
    /// Optional features that the client supports.
    pub features: Vec<String>,
}

/// Error: the message is no valid handshake. The text is for the client.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HandshakeError(pub String);

/// Maximum value of a number with a fraction. Up to it all whole numbers are exact, and every count
/// of a handshake is far below.
const MAX_WHOLE: f64 = u32::MAX as f64;

/// Feature: the client wants to know how much of its audio is safe.
pub const ACK: &str = "ack";
/// Feature: the client wants to resume its stream after a lost connection. It requires [`ACK`] as
/// well.
pub const RESUME: &str = "resume";
/// Feature: the client wants to know before its token expires, so that it can send another one.
pub const RENEW: &str = "renew";

/// Members of the message, of any JSON type. So the errors about them can be in words for the
/// client, who does not know the gateway's types. A null member is absent.
#[derive(Deserialize)]
struct Members {
    r#type: Option<Value>,
    source: Option<Value>,
    sample_rate: Option<Value>,
    channels: Option<Value>,
    codec: Option<Value>,
    device_id: Option<Value>,
    language: Option<Value>,
    client: Option<Value>,
    version: Option<Value>,
    features: Option<Value>,
}

impl Handshake {
    /// Parses a handshake message.
    ///
    /// # Errors
    /// If the message is invalid, in words for the client.
    pub fn parse(json: &str) -> Result<Self, HandshakeError> {
        // Serde would also accept an array for a struct: its values in order.
        if !json.trim_ascii_start().starts_with('{') {
            return Err(HandshakeError("expected a JSON object".to_owned()));
        }
        let members: Members = serde_json::from_str(json)
            .map_err(|error| HandshakeError(text::clip(&error.to_string(), 200)))?;
        match members.r#type {
            Some(Value::String(named)) if named == "handshake" => {}
            Some(Value::String(other)) => {
                let found = text::clip(&other, 40);
                return Err(HandshakeError(format!(
                    "expected a message of type \"handshake\", got \"{found}\""
                )));
            }
            _ => {
                return Err(HandshakeError(
                    "expected a message with \"type\": \"handshake\"".to_owned(),
                ));
            }
        }
        Ok(Self {
            source: string("source", members.source)?,
            sample_rate: count("sample_rate", members.sample_rate)?
                .ok_or_else(|| missing("sample_rate"))?,
            channels: count("channels", members.channels)?.unwrap_or(1),
            codec: string("codec", members.codec)?.unwrap_or_else(|| "pcm_s16le".to_owned()),
            device_id: string("device_id", members.device_id)?
                .ok_or_else(|| missing("device_id"))?,
            language: string("language", members.language)?,
            client: string("client", members.client)?,
            version: string("version", members.version)?,
            features: strings("features", members.features)?,
        })
    }

    /// Whether the client supports a feature.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|named| named == feature)
    }

    /// Bytes of one sample of one channel; 0 if the codec is not PCM of a fixed width.
    #[must_use]
    pub fn sample_width(&self) -> u16 {
        match self.codec.as_str() {
            "pcm_u8" => 1,
            "pcm_s16le" => 2,
            "pcm_s24le" => 3,
            "pcm_s32le" | "pcm_f32le" => 4,
            _ => 0,
        }
    }

    /// Bytes of one second of audio; 0 if the codec is not PCM of a fixed width.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        u64::from(self.sample_rate) * u64::from(self.channels) * u64::from(self.sample_width())
    }
}

/// Duration of this many bytes of audio, in whole milliseconds; 0 if `bytes_per_second` is 0.
#[must_use]
pub fn duration_of(bytes: u64, bytes_per_second: u64) -> Duration {
    let millis = (u128::from(bytes) * 1000).checked_div(u128::from(bytes_per_second));
    Duration::from_millis(millis.unwrap_or_default().try_into().unwrap_or(u64::MAX))
}

fn missing(name: &str) -> HandshakeError {
    HandshakeError(format!("{name} is missing"))
}

fn string(name: &str, value: Option<Value>) -> Result<Option<String>, HandshakeError> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(unfit(name, "text", &other)),
    }
}

fn strings(name: &str, value: Option<Value>) -> Result<Vec<String>, HandshakeError> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let texts = value.as_array().and_then(|values| {
        let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
        texts.collect()
    });
    texts.ok_or_else(|| unfit(name, "a list of texts", &value))
}

/// A count, which is at least 1.
fn count<T: TryFrom<u64>>(name: &str, value: Option<Value>) -> Result<Option<T>, HandshakeError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let whole = value.as_number().and_then(whole).filter(|count| *count > 0);
    match whole.and_then(|count| T::try_from(count).ok()) {
        Some(count) => Ok(Some(count)),
        None => Err(unfit(name, "a whole number above 0", &value)),
    }
}

/// Accepts whole numbers with a fraction, such as 16000.0, because some clients send them.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it has no fraction and is in range"
)]
fn whole(number: &Number) -> Option<u64> {
    let fits = |number: &f64| number.fract() == 0.0 && (0.0..=MAX_WHOLE).contains(number);
    number
        .as_u64()
        .or_else(|| number.as_f64().filter(fits).map(|number| number as u64))
}

fn unfit(name: &str, wanted: &str, found: &Value) -> HandshakeError {
    let found = text::clean(&found.to_string(), 40);
    HandshakeError(format!("{name} must be {wanted}, not {found}"))
}

#[cfg(test)]
mod tests;
