//! Messages of a backend that are meant for the gateway.

use serde::Deserialize;

/// Whether a backend answers the handshake and the end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replies {
    /// It answers the handshake with `handshake-ack`, or any message with the `status` `ready`, and
    /// answers `finalize` with the status `finalized`.
    Expected,
    /// It answers neither. It is ready once its connection is open, and has taken everything once
    /// it answers the gateway's Close.
    None,
}

/// Answer of a backend to the handshake.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// The backend takes the stream.
    Ready,
    /// The backend refuses the stream.
    Refused(Box<RefusedHandshake>),
    /// The message is no answer.
    Other,
}

/// Refusal in a message of the backend.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RefusedHandshake {
    /// Short machine-readable code.
    pub code: Option<String>,
    /// Sentence for the client.
    pub message: Option<String>,
    /// Close code that the backend is about to use.
    pub close_code: Option<u16>,
    /// Whether the same client may try again.
    pub retryable: bool,
}

/// Members that tell what a message is.
#[derive(Deserialize)]
struct ReplyHead {
    r#type: Option<String>,
    status: Option<String>,
    ok: Option<bool>,
    bytes: Option<u64>,
}

impl ReplyHead {
    fn of(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    fn is(&self, r#type: &str) -> bool {
        self.r#type.as_deref() == Some(r#type)
    }

    fn says(&self, status: &str) -> bool {
        self.status.as_deref() == Some(status)
    }
}

impl Reply {
    /// Parses a message that came before the backend was ready.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let Some(head) = ReplyHead::of(text) else {
            return Self::Other;
        };
        if head.is("error") || head.says("error") || head.ok == Some(false) {
            // A refusal with members of the wrong type counts, without them.
            return Self::Refused(serde_json::from_slice(text).unwrap_or_default());
        }
        if head.is("handshake-ack") || head.says("ready") {
            return Self::Ready;
        }
        Self::Other
    }
}

/// Number of bytes that a message confirms, if it is a confirmation.
#[must_use]
pub fn confirmed(text: &[u8]) -> Option<u64> {
    let head = ReplyHead::of(text)?;
    head.bytes.filter(|_| head.is("ack"))
}

/// Whether a message confirms the end of the stream.
#[must_use]
pub(crate) fn is_finalized(text: &[u8]) -> bool {
    ReplyHead::of(text).is_some_and(|head| head.says("finalized"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_backend_can_say_that_they_are_ready() {
        for ready in [
            r#"{"type":"handshake-ack","ok":true,"status":"ready"}"#,
            r#"{"type":"handshake-ack"}"#,
            r#"{"status":"ready"}"#,
        ] {
            assert_eq!(Reply::of(ready.as_bytes()), Reply::Ready, "{ready}");
        }
        for other in [r#"{"type":"welcome"}"#, "hello", "[]", "", r#"{"ok":true}"#] {
            assert_eq!(Reply::of(other.as_bytes()), Reply::Other, "{other}");
        }
    }

    #[test]
    fn a_refusal_is_one_in_any_of_its_shapes_and_keeps_its_words() {
        let refused = RefusedHandshake {
            code: Some("quota".to_owned()),
            message: Some("too much".to_owned()),
            close_code: Some(4100),
            retryable: true,
        };
        let told = r#"{"type":"error","code":"quota","message":"too much","close_code":4100,"retryable":true}"#;
        assert_eq!(Reply::of(told.as_bytes()), Reply::Refused(refused.into()));
        for silent in [
            r#"{"status":"error"}"#,
            r#"{"type":"handshake-ack","ok":false}"#,
            r#"{"type":"error","code":7}"#,
        ] {
            let expected = Reply::Refused(Box::default());
            assert_eq!(Reply::of(silent.as_bytes()), expected, "{silent}");
        }
    }

    #[test]
    fn only_an_ack_with_a_number_confirms_bytes() {
        assert_eq!(confirmed(br#"{"type":"ack","bytes":640}"#), Some(640));
        for other in [
            r#"{"type":"ack"}"#,
            r#"{"type":"heard","bytes":640}"#,
            r#"{"type":"ack","bytes":-1}"#,
        ] {
            assert_eq!(confirmed(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn only_a_status_finalized_confirms_the_end() {
        assert!(is_finalized(br#"{"type":"status","status":"finalized"}"#));
        assert!(!is_finalized(
            br#"{"type":"transcript","text":"finalized"}"#
        ));
    }
}
