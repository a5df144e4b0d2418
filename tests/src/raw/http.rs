//! Upgrade requests and their answers.

use super::Raw;

/// Example key of RFC 6455, section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// Accept value that belongs to [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Answer to a request.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    head: String,
    /// Body, of the length that the head announces; empty after a 101.
    pub body: String,
}

impl Response {
    /// Header by its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Raw {
    /// Sends a request, and returns the answer.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn request(&mut self, request: &str) -> Response {
        self.write(request.as_bytes()).expect("the gateway reads");
        self.response()
    }

    /// Reads an answer.
    ///
    /// # Panics
    /// If there is none.
    pub fn response(&mut self) -> Response {
        let mut response = self.response_to_head();
        let length = response.header("Content-Length");
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        while self.pending.len() < length {
            assert!(self.fill(), "the connection ended within the body");
        }
        let body = self.pending.drain(..length).collect();
        response.body = String::from_utf8(body).expect("answers are text");
        response
    }

    /// Reads so many bytes.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.pending.len() < count {
            assert!(self.fill(), "the connection ended within the body");
        }
        self.pending.drain(..count).collect()
    }

    /// Reads an answer without a body, even if its head announces one.
    ///
    /// # Panics
    /// If there is none.
    pub fn response_to_head(&mut self) -> Response {
        let end = loop {
            if let Some(end) = self.pending.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(
                self.fill(),
                "the connection ended within the head: {:?}",
                self.pending
            );
        };
        let head = String::from_utf8(self.pending.drain(..end).collect()).expect("a head is ASCII");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status line");
        Response {
            status,
            head,
            body: String::new(),
        }
    }

    /// Upgrades to a WebSocket.
    ///
    /// # Panics
    /// If the answer is not 101.
    pub fn upgrade(&mut self, path: &str) {
        let response = self.request(&upgrade_request(path));
        assert_eq!(response.status, 101, "{response:?}");
    }
}

/// Valid upgrade request.
pub fn upgrade_request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}
