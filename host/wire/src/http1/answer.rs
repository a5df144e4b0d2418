//! Answers to requests that are no upgrade.

use axum::http::StatusCode;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// Answer with a text body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Body: a sentence that says what is wrong with the request.
    pub message: &'static str,
    /// Headers that the status requires, by name and value.
    pub headers: &'static [(&'static str, &'static str)],
}

/// Whether the connection accepts another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// It does.
    KeepAlive,
    /// It does not: the answer is the last.
    Close,
}

impl Answer {
    /// Answer with status 400.
    #[must_use]
    pub const fn bad_request(message: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message,
            headers: &[],
        }
    }

    /// Bytes of the answer to a request with this method.
    #[must_use]
    pub fn bytes(&self, method: &str, persistence: Persistence) -> Vec<u8> {
        let Self {
            status,
            message,
            headers,
        } = self;
        let reason = status.canonical_reason().unwrap_or_default();
        let length = message.len() + 1;
        let mut text = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\n\
             content-length: {length}\r\n",
            status.as_str()
        );
        // RFC 9110, section 6.6.1, requires a date. A time that has no such form is left out.
        if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()) {
            text += &format!("date: {date}\r\n");
        }
        for (name, value) in *headers {
            text += &format!("{name}: {value}\r\n");
        }
        // An answer with Upgrade names it in Connection as well (RFC 9110, section 7.8).
        let upgrades = headers.iter().any(|(name, _)| *name == "upgrade");
        text += match (upgrades, persistence) {
            (true, Persistence::KeepAlive) => "connection: Upgrade\r\n",
            (true, Persistence::Close) => "connection: Upgrade, close\r\n",
            (false, Persistence::KeepAlive) => "",
            (false, Persistence::Close) => "connection: close\r\n",
        };
        text += "\r\n";
        if method != "HEAD" {
            text += message;
            text.push('\n');
        }
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(method: &str, persistence: Persistence) -> String {
        let answer = Answer {
            status: StatusCode::UPGRADE_REQUIRED,
            message: "upgrade",
            headers: &[("upgrade", "websocket")],
        };
        String::from_utf8(answer.bytes(method, persistence)).unwrap()
    }

    #[test]
    fn an_answer_has_its_length_a_date_and_what_the_status_asks_for() {
        let answer = text("GET", Persistence::KeepAlive);
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
        assert!(answer.contains("\r\ncontent-length: 8\r\n"), "{answer}");
        assert!(answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
        assert!(answer.contains(" GMT\r\n"), "{answer}");
        assert!(answer.contains("\r\nconnection: Upgrade\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nupgrade\n"), "{answer}");
    }

    #[test]
    fn the_answer_to_head_has_no_body_and_the_last_one_says_so() {
        let answer = text("HEAD", Persistence::Close);
        assert!(answer.contains("\r\ncontent-length: 8\r\n"), "{answer}");
        assert!(
            answer.ends_with("\r\nconnection: Upgrade, close\r\n\r\n"),
            "{answer}"
        );
    }
}
