//! The client's first message on an `ingest.v1` route.

use serde::Deserialize;

/// The handshake as the client sent it. Unknown fields are ignored, so that
/// newer clients can speak to this host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Handshake {
    /// `mic` or `sys` (or `system`), where the client names it.
    pub source: Option<String>,
    /// Samples a second and channel. Never zero.
    pub sample_rate: u32,
    /// Interleaved channels. Never zero.
    #[serde(default = "one")]
    pub channels: u16,
    /// How a sample is encoded.
    #[serde(default = "pcm_s16le")]
    pub codec: String,
    /// Random for every connection of the deployed client: it identifies
    /// nothing across a reconnect.
    pub device_id: String,
    /// The spoken language, as the client names it.
    pub language: Option<String>,
    /// The client's name.
    pub client: Option<String>,
    /// The client's version.
    pub version: Option<String>,
    /// What the client can do beyond the protocol's first version.
    #[serde(default)]
    pub features: Vec<String>,
}

const fn one() -> u16 {
    1
}

fn pcm_s16le() -> String {
    "pcm_s16le".to_owned()
}

/// Why a handshake is not one. The message is meant for the client.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HandshakeError(pub String);

/// The client wants to be told how much of its audio is safe.
pub const ACK: &str = "ack";
/// The client wants to go on where it was, should it be cut off. It has to ask
/// for [`ACK`] as well.
pub const RESUME: &str = "resume";

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

impl Handshake {
    /// Reads a handshake message.
    ///
    /// # Errors
    /// Says what is wrong with the message, in words for the client.
    pub fn parse(text: &str) -> Result<Self, HandshakeError> {
        let invalid =
            |error: serde_json::Error| HandshakeError(crate::text::clip(&error.to_string(), 200));
        let typed: Typed = serde_json::from_str(text).map_err(invalid)?;
        if typed.r#type != "handshake" {
            let found = crate::text::clip(&typed.r#type, 40);
            return Err(HandshakeError(format!(
                "expected a message of type \"handshake\", got \"{found}\""
            )));
        }
        let handshake: Self = serde_json::from_str(text).map_err(invalid)?;
        if handshake.sample_rate == 0 || handshake.channels == 0 {
            return Err(HandshakeError(
                "sample_rate and channels must not be 0".to_owned(),
            ));
        }
        Ok(handshake)
    }

    /// Whether the client can do something.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|named| named == feature)
    }

    /// Bytes of one sample of one channel; 0 for a codec that is not PCM of a
    /// fixed width.
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

    /// Bytes of one second of audio; 0 for a codec that is not PCM of a fixed
    /// width.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        u64::from(self.sample_rate) * u64::from(self.channels) * u64::from(self.sample_width())
    }
}
