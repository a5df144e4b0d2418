//! What a host says to a client, understood byte by byte.

use super::item::Blob;

/// Something whole that the host said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// An HTTP head, with its status.
    Head(u16),
    Ack {
        receipts: bool,
        resumable: bool,
        /// Where a stream goes on.
        from: Option<u64>,
    },
    /// So much is safe.
    Kept {
        bytes: u64,
    },
    Pong,
    Status(String),
    Finalized {
        bytes: u64,
    },
    Error {
        code: String,
        close_code: u16,
        retryable: bool,
        retry_after: bool,
        message: String,
    },
    /// A message that is not one of `ingest.v1`.
    Text(Blob),
    Binary(Blob),
    WirePing,
    WirePong(Blob),
    Close {
        code: u16,
        reason: String,
    },
    /// Bytes that no conforming server sends.
    Garbage(String),
}

/// Understands a host's bytes as they come.
#[derive(Default)]
pub struct Output {
    bytes: Vec<u8>,
    at: usize,
    state: Part,
    /// Whether text may be a message of `ingest.v1`; errors are understood on
    /// every route.
    json: bool,
    /// What leads back to the stream. It differs between runs.
    token: Option<String>,
}

#[derive(Default, PartialEq, Eq, Clone, Copy)]
enum Part {
    #[default]
    Head,
    /// The body of an HTTP answer.
    Body,
    Frames,
    Lost,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self {
            json,
            ..Self::default()
        }
    }

    pub fn push(&mut self, bytes: &[u8]) -> Vec<Said> {
        self.bytes.extend_from_slice(bytes);
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The token of the ack, once.
    pub fn token(&mut self) -> Option<String> {
        self.token.take()
    }

    /// Whether what is not whole yet will be a Close.
    pub fn in_close(&self) -> bool {
        self.state == Part::Frames && self.bytes.get(self.at).is_some_and(|b| b & 0xf == 8)
    }

    /// Whether something was begun and not finished.
    pub fn is_torn(&self) -> bool {
        self.state != Part::Body && self.at < self.bytes.len()
    }

    fn next(&mut self) -> Option<Said> {
        let rest = &self.bytes[self.at..];
        let (length, said) = match self.state {
            Part::Head => {
                let end = rest.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
                let status = std::str::from_utf8(&rest[..end])
                    .ok()
                    .and_then(|head| head.strip_prefix("HTTP/1.1 "))
                    .and_then(|head| head.get(..3)?.parse().ok());
                self.state = match status {
                    Some(101) => Part::Frames,
                    Some(_) => Part::Body,
                    None => Part::Lost,
                };
                let garbage = || Said::Garbage(rest.escape_ascii().to_string());
                (end, status.map_or_else(garbage, Said::Head))
            }
            Part::Frames => {
                let (length, said) = frame(rest, self.json)?;
                if matches!(said, Said::Ack { .. }) {
                    self.token = token(&rest[..length]);
                }
                if matches!(said, Said::Garbage(_)) {
                    self.state = Part::Lost;
                }
                (length, said)
            }
            Part::Body | Part::Lost => return None,
        };
        self.at += length;
        Some(said)
    }
}

fn frame(bytes: &[u8], json: bool) -> Option<(usize, Said)> {
    let [first, second, rest @ ..] = bytes else {
        return None;
    };
    let (extra, length) = match *second {
        126 => (2, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (8, u64::from_be_bytes(*rest.first_chunk()?)),
        short => (0, u64::from(short)),
    };
    if second & 0x80 != 0 || first & 0xf0 != 0x80 {
        return Some((2, Said::Garbage(format!("header {first:#x} {second:#x}"))));
    }
    let length = usize::try_from(length).unwrap();
    let payload = rest.get(extra..extra + length)?;
    let blob = || Blob(payload.to_vec());
    let said = match first & 0xf {
        1 => text(payload, json),
        2 => Said::Binary(blob()),
        8 => close(payload),
        9 => Said::WirePing,
        10 => Said::WirePong(blob()),
        other => Said::Garbage(format!("opcode {other}")),
    };
    Some((2 + extra + length, said))
}

fn close(payload: &[u8]) -> Said {
    let parsed = payload.split_first_chunk::<2>().and_then(|(code, reason)| {
        let reason = std::str::from_utf8(reason).ok()?.to_owned();
        Some((u16::from_be_bytes(*code), reason))
    });
    match parsed {
        Some((code, reason)) if payload.len() <= 125 => Said::Close { code, reason },
        _ => Said::Garbage(format!("close body {}", payload.escape_ascii())),
    }
}

fn text(payload: &[u8], ingest: bool) -> Said {
    let other = || Said::Text(Blob(payload.to_vec()));
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(payload) else {
        return other();
    };
    let string = |name: &str| json[name].as_str().map(str::to_owned);
    let number = |name: &str| json[name].as_u64();
    let known = match json["type"].as_str() {
        Some("error") if json["status"] == "error" => error(&json),
        _ if !ingest => None,
        Some("handshake-ack") if json["ok"] == true && json["status"] == "ready" => {
            let has = |feature: &str| {
                let features = json["features"].as_array();
                features.is_some_and(|all| all.iter().any(|it| it == feature))
            };
            Some(Said::Ack {
                receipts: has("ack"),
                resumable: has("resume"),
                from: number("from_bytes"),
            })
        }
        Some("ack") => number("bytes").map(|bytes| Said::Kept { bytes }),
        Some("pong") => Some(Said::Pong),
        Some("status") if json["status"] == "finalized" => {
            number("bytes").map(|bytes| Said::Finalized { bytes })
        }
        Some("status") => string("status").map(Said::Status),
        _ => None,
    };
    known.unwrap_or_else(other)
}

/// The token in an ack's frame, whose header is no brace.
fn token(frame: &[u8]) -> Option<String> {
    let begins = frame.iter().position(|byte| *byte == b'{')?;
    let json: serde_json::Value = serde_json::from_slice(&frame[begins..]).ok()?;
    json["resume_token"].as_str().map(str::to_owned)
}

fn error(json: &serde_json::Value) -> Option<Said> {
    // The id differs between runs, so it is only seen to be there.
    json["session_id"].as_str().filter(|id| !id.is_empty())?;
    Some(Said::Error {
        code: json["code"].as_str()?.to_owned(),
        close_code: json["close_code"].as_u64()?.try_into().ok()?,
        retryable: json["retryable"].as_bool()?,
        retry_after: json.get("retry_after_ms")?.is_u64(),
        message: json["message"].as_str()?.to_owned(),
    })
}
