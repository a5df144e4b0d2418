//! What a test sends and expects on the routes of the deployed client.

use serde_json::{Value, json};

use super::{Client, Event, Library};
use crate::gateway::Gateway;
use crate::token;

impl Client {
    /// Opens the stream of a user in a meeting. Returns its session id too.
    ///
    /// # Panics
    /// If it is not admitted.
    pub fn stream_of(gateway: &Gateway, name: &str, user: &str) -> (Self, String) {
        let path = meeting(name, "mic", &token::of_user(user));
        let mut client = Self::connect(Library::Ws, gateway, &path);
        client.handshake();
        let session = client.expect_ack();
        (client, session)
    }

    /// Expects this Close as the next event.
    ///
    /// # Panics
    /// If it is something else.
    pub fn expect_close(&mut self, code: u16, reason: &str) {
        assert_eq!(self.event(), Event::Close(code, reason.to_owned()));
    }

    /// Sends a message and expects it back.
    ///
    /// # Panics
    /// If something else comes.
    pub fn echoes(&mut self, message: &str) {
        self.text(message);
        assert_eq!(self.event(), Event::Text(message.to_owned()));
    }

    /// Closes, and expects the answer.
    ///
    /// # Panics
    /// If something else comes.
    pub fn leave(&mut self) {
        self.close(1000, "");
        self.expect_close(1000, "");
    }

    /// Expects a complete refusal: the error message with all of its fields, then the Close with
    /// the message's code and, as far as it fits, its text. Returns the message.
    ///
    /// # Panics
    /// If something else comes.
    pub fn expect_refusal(&mut self, close_code: u16, code: &str) -> Value {
        let frame = self.message();
        let expected = json!({
            "type": "error", "status": "error", "code": code, "message": frame["message"],
            "close_code": close_code, "retryable": frame["retryable"],
            "retry_after_ms": frame["retry_after_ms"], "session_id": frame["session_id"],
        });
        assert_eq!(frame, expected);
        assert!(frame["retryable"].is_boolean(), "{frame}");
        assert!(
            frame["retry_after_ms"].is_null() || frame["retry_after_ms"].is_u64(),
            "{frame}"
        );
        assert!(
            frame["session_id"]
                .as_str()
                .is_some_and(|id| !id.is_empty()),
            "{frame}"
        );
        let message = frame["message"]
            .as_str()
            .filter(|message| !message.is_empty())
            .expect("a message");
        self.expect_close(close_code, &message[..message.floor_char_boundary(123)]);
        frame
    }

    /// Expects a complete refusal with this text.
    ///
    /// # Panics
    /// If something else comes.
    pub fn expect_refusal_saying(&mut self, close_code: u16, code: &str, message: &str) -> Value {
        let frame = self.expect_refusal(close_code, code);
        assert_eq!(frame["message"], message);
        frame
    }

    /// Sends audio.
    pub fn audio(&mut self, pcm: &[u8]) {
        for chunk in pcm.chunks(3200) {
            self.binary(chunk);
        }
    }

    /// Sends audio, and waits until the gateway has read it.
    ///
    /// # Panics
    /// If the gateway sends anything but a pong.
    pub fn send_audio(&mut self, pcm: &[u8]) {
        self.audio(pcm);
        self.json(&json!({"type": "ping"}));
        assert_eq!(self.message(), json!({"type": "pong"}));
    }

    /// Sends the handshake of the deployed client.
    pub fn handshake(&mut self) {
        self.json(&handshake());
    }

    /// Expects the ack. Returns the session id.
    ///
    /// # Panics
    /// If something else comes.
    pub fn expect_ack(&mut self) -> String {
        let ack = self.message();
        let session = ack["session_id"].as_str().unwrap_or_default().to_owned();
        assert!(!session.is_empty(), "{ack}");
        let expected = json!({
            "type": "handshake-ack", "ok": true, "status": "ready", "protocol": "ingest.v1",
            "session_id": session, "message": ack["message"],
        });
        assert_eq!(ack, expected);
        assert!(ack["message"].is_string(), "{ack}");
        session
    }

    /// Finalizes the stream, and expects the confirmation of `bytes`.
    ///
    /// # Panics
    /// If something else comes.
    pub fn finalize(&mut self, bytes: usize, duration_ms: usize) {
        self.json(&json!({"type": "finalize"}));
        let expected = json!({"type": "status", "status": "finalized", "bytes": bytes, "duration_ms": duration_ms});
        assert_eq!(self.message(), expected);
        assert!(matches!(self.event(), Event::Close(1000, _)));
    }
}

/// Handshake of the deployed client, for 16 kHz.
pub fn handshake() -> Value {
    json!({
        "type": "handshake", "source": "mic", "sample_rate": 16000, "channels": 1, "codec": "pcm_s16le",
        "device_id": "mac-1", "language": "tr", "ai_mode": "standard", "client": "macclient",
        "version": "1.0.0", "meeting_id": "m1",
    })
}

/// Path that the deployed client requests.
pub fn meeting(meeting: &str, source: &str, token: &str) -> String {
    format!("/api/v1/ws/ingest/meetings/{meeting}?source={source}&token={token}")
}
