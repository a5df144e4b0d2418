//! The JSON messages of `ingest.v1`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// What a client says while it streams. Fields that a message has beyond its
/// type are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ClientMessage {
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
    /// The stream rests.
    Pause,
    /// The stream goes on.
    Resume,
    /// The stream is complete; a `finalized` status is due.
    Finalize,
    /// The stream is complete; only the Close is due.
    Close,
    /// Another token, in the place of the one that the client came with.
    Auth {
        /// The token; empty if there is none.
        #[serde(default, skip_serializing)]
        token: ClientToken,
    },
    /// Some later version's message.
    #[serde(other)]
    Unknown,
}

impl ClientMessage {
    /// Reads a message; what is not one is unknown, not an error.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        // To serde the array `["ping"]` would be a ping as well.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Self::Unknown;
        }
        serde_json::from_slice(text).unwrap_or_else(|_| Self::unreadable(text))
    }

    /// A message that is none of these. One that may have a token in it is not passed on.
    fn unreadable(text: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Kind {
            r#type: String,
        }
        match serde_json::from_slice(text) {
            Ok(Kind { r#type }) if r#type == "auth" => Self::Auth {
                token: ClientToken::default(),
            },
            _ => Self::Unknown,
        }
    }
}

/// Token that a client has sent. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientToken(String);

impl ClientToken {
    /// The token.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ClientToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::String(token) => Self(token),
            _ => Self::default(),
        })
    }
}

impl fmt::Debug for ClientToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientToken(..)")
    }
}

/// What the host says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HostMessage<'a> {
    /// The stream is admitted and its upstream is ready.
    Ack(Ack<'a>),
    /// Answers a ping.
    Pong {
        /// `pong`
        r#type: &'static str,
    },
    /// Confirms a pause or a resume, or says whether the upstream is there.
    Status {
        /// `status`
        r#type: &'static str,
        /// `paused`, `resumed`, `upstream_lost` or `upstream_restored`
        status: &'static str,
    },
    /// The token of the client expires soon.
    TokenExpiring {
        /// `token_expiring`
        r#type: &'static str,
        /// Time until then.
        expires_in_ms: u64,
    },
    /// The token of the client was renewed.
    Renewed {
        /// `status`
        r#type: &'static str,
        /// `renewed`
        status: &'static str,
        /// Time until the new one expires; `null` if the stream does not end with it.
        expires_in_ms: Option<u64>,
    },
    /// The token of the client was not renewed. The stream goes on with the one before.
    RenewalRefused {
        /// `status`
        r#type: &'static str,
        /// `renewal_refused`
        status: &'static str,
        /// As in an error frame.
        code: &'a str,
        /// As in an error frame.
        message: &'a str,
        /// Whether the client may try again with the same token.
        retryable: bool,
    },
    /// A policy warns the client, and refuses nothing.
    Notice {
        /// `status`
        r#type: &'static str,
        /// `notice`
        status: &'static str,
        /// Machine-readable word.
        code: &'a str,
        /// Sentence for a person.
        message: &'a str,
    },
    /// So much of the stream is safe.
    Kept {
        /// `ack`
        r#type: &'static str,
        /// Bytes of audio from the beginning of the stream.
        bytes: u64,
    },
    /// The upstream has taken everything.
    Finalized {
        /// `status`
        r#type: &'static str,
        /// `finalized`
        status: &'static str,
        /// Bytes of audio.
        bytes: u64,
        /// How long that audio lasts.
        duration_ms: u64,
    },
    /// The connection is refused or ended; a Close follows.
    Error(Error<'a>),
}

/// Carries what both kinds of deployed client look for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ack<'a> {
    r#type: &'static str,
    ok: bool,
    status: &'static str,
    protocol: &'static str,
    session_id: &'a str,
    message: &'static str,
    /// Those of the client's features that hold for this stream. Who asked for
    /// none sees none.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    features: &'a [&'a str],
    /// Leads back to the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    resume_token: Option<&'a str>,
    /// Where a stream that is resumed goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_bytes: Option<u64>,
}

/// Carries the shapes of both modules of the server that this one replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Error<'a> {
    r#type: &'static str,
    status: &'static str,
    code: &'a str,
    message: &'a str,
    close_code: u16,
    retryable: bool,
    retry_after_ms: Option<u64>,
    session_id: &'a str,
}

impl<'a> HostMessage<'a> {
    /// The ack of a handshake.
    #[must_use]
    pub fn ack(
        session_id: &'a str,
        features: &'a [&'a str],
        resume_token: Option<&'a str>,
        from_bytes: Option<u64>,
    ) -> Self {
        Self::Ack(Ack {
            r#type: "handshake-ack",
            ok: true,
            status: "ready",
            protocol: "ingest.v1",
            session_id,
            message: "ready",
            features,
            resume_token,
            from_bytes,
        })
    }

    /// The answer to a ping.
    #[must_use]
    pub fn pong() -> Self {
        Self::Pong { r#type: "pong" }
    }

    /// The answer to a pause or a resume, or news of the upstream.
    #[must_use]
    pub fn status(status: &'static str) -> Self {
        Self::Status {
            r#type: "status",
            status,
        }
    }

    /// Says that the token of the client expires soon.
    #[must_use]
    pub fn token_expiring(left: Duration) -> Self {
        Self::TokenExpiring {
            r#type: "token_expiring",
            expires_in_ms: millis(left),
        }
    }

    /// Says that the token of the client was renewed.
    #[must_use]
    pub fn renewed(left: Option<Duration>) -> Self {
        Self::Renewed {
            r#type: "status",
            status: "renewed",
            expires_in_ms: left.map(millis),
        }
    }

    /// Says that the token of the client was not renewed.
    #[must_use]
    pub fn renewal_refused(code: &'a str, message: &'a str, retryable: bool) -> Self {
        Self::RenewalRefused {
            r#type: "status",
            status: "renewal_refused",
            code,
            message,
            retryable,
        }
    }

    /// A warning of a policy.
    #[must_use]
    pub fn notice(code: &'a str, message: &'a str) -> Self {
        Self::Notice {
            r#type: "status",
            status: "notice",
            code,
            message,
        }
    }

    /// Says how much of the stream is safe.
    #[must_use]
    pub fn kept(bytes: u64) -> Self {
        Self::Kept {
            r#type: "ack",
            bytes,
        }
    }

    /// The answer to a finalize.
    #[must_use]
    pub fn finalized(bytes: u64, duration: Duration) -> Self {
        Self::Finalized {
            r#type: "status",
            status: "finalized",
            bytes,
            duration_ms: millis(duration),
        }
    }

    /// What comes before the Close of a refusal.
    #[must_use]
    pub fn error(
        code: &'a str,
        message: &'a str,
        close_code: u16,
        retryable: bool,
        retry_after: Option<Duration>,
        session_id: &'a str,
    ) -> Self {
        Self::Error(Error {
            r#type: "error",
            status: "error",
            code,
            message,
            close_code,
            retryable,
            retry_after_ms: retry_after.map(millis),
            session_id,
        })
    }

    /// The message as JSON.
    #[must_use]
    pub(crate) fn to_json(&self) -> Vec<u8> {
        // Strings and numbers only: there is nothing in it that JSON lacks.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_known_by_their_type_and_other_fields_are_ignored() {
        assert_eq!(
            ClientMessage::parse(br#"{"type":"ping","at":1}"#),
            ClientMessage::Ping
        );
        assert_eq!(
            ClientMessage::parse(b" \n{\"type\":\"finalize\"}"),
            ClientMessage::Finalize
        );
        for auth in [
            r#"{"type":"auth","token":"a.b.c"}"#,
            r#"{"type":"auth"}"#,
            r#"{"type":"auth","token":["a.b.c"]}"#,
            r#"{"type":"auth","token":"a.b.c","token":"a.b.c"}"#,
        ] {
            let parsed = ClientMessage::parse(auth.as_bytes());
            assert!(matches!(parsed, ClientMessage::Auth { .. }), "{auth}");
            assert!(!format!("{parsed:?}").contains("a.b.c"), "{parsed:?}");
        }
        for unknown in [
            &br#"{"type":"dance"}"#[..],
            br#"{"a":1}"#,
            b"[]",
            br#"["ping"]"#,
            b"hello",
            b"",
        ] {
            assert_eq!(ClientMessage::parse(unknown), ClientMessage::Unknown);
        }
    }

    #[test]
    fn the_error_frame_has_both_shapes() {
        let message = HostMessage::error(
            "auth_failed",
            "auth failed: token expired",
            4001,
            false,
            None,
            "s-1",
        );
        assert_eq!(
            String::from_utf8(message.to_json()).unwrap(),
            r#"{"type":"error","status":"error","code":"auth_failed","message":"auth failed: token expired","close_code":4001,"retryable":false,"retry_after_ms":null,"session_id":"s-1"}"#
        );
    }

    #[test]
    fn the_ack_answers_both_kinds_of_client() {
        let json: serde_json::Value =
            serde_json::from_slice(&HostMessage::ack("s-1", &[], None, None).to_json()).unwrap();
        assert_eq!(json["type"], "handshake-ack");
        assert_eq!(json["ok"], true);
        assert_eq!(json["status"], "ready");
        assert_eq!(json["session_id"], "s-1");
        for unasked in ["features", "resume_token", "from_bytes"] {
            assert_eq!(json.get(unasked), None);
        }
    }
}
