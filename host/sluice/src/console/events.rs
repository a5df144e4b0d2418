//! Server-sent events.

use axum::body::Bytes;
use serde::Serialize;

use crate::schema::Answer;

/// Events that are sent together.
#[derive(Debug, Default)]
pub(super) struct Events(Vec<u8>);

impl Events {
    /// Adds an event with an answer of this run of the gateway.
    pub(super) fn add<T: Serialize>(&mut self, name: &str, body: T) {
        match serde_json::to_string(&Answer::of(body)) {
            Ok(json) => self.add_text(name, &json),
            Err(error) => tracing::error!(%error, name, "an event of the console is not told"),
        }
    }

    /// Adds an event with a text.
    pub(super) fn add_text(&mut self, name: &str, text: &str) {
        self.0.extend_from_slice(b"event: ");
        self.0.extend_from_slice(name.as_bytes());
        for line in text.lines() {
            self.0.extend_from_slice(b"\ndata: ");
            self.0.extend_from_slice(line.as_bytes());
        }
        self.0.extend_from_slice(b"\n\n");
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, as they are sent.
    pub(super) fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_names_and_a_text_keeps_its_lines() {
        let mut events = Events::default();
        events.add_text("metrics", "a 1\nb 2");
        events.add_text("next", "x");
        let sent = String::from_utf8(events.into_bytes().to_vec()).unwrap();
        let expected = "event: metrics\ndata: a 1\ndata: b 2\n\nevent: next\ndata: x\n\n";
        assert_eq!(sent, expected);
    }
}
