//! What a client sends: bytes, and what they mean.

use std::fmt;

/// A frame, or part of one, or the request.
#[derive(Debug, Clone)]
pub struct Item {
    pub bytes: Blob,
    pub meaning: Meaning,
    /// The host can know of a violation once it has this many of the bytes,
    /// and must once it has `latest`.
    pub earliest: usize,
    pub latest: usize,
}

/// Bytes that are printed short.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.len().min(24);
        write!(f, "{} B {}", self.0.len(), self.0[..shown].escape_ascii())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A valid upgrade.
    Upgrade,
    /// An HTTP request that is none.
    NoUpgrade,
    Text(Text),
    Binary(Blob),
    Ping(Blob),
    Pong,
    Close(Option<(u16, String)>),
    /// Breaks RFC 6455 or a bound, with this close code.
    Violation(u16),
    /// A fragment, or a piece of a frame, that completes nothing.
    Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    Handshake,
    /// Contradicts the URL.
    WrongSource,
    NotJson,
    Ping,
    Pong,
    Pause,
    Resume,
    Finalize,
    Done,
    /// Of a type that the host does not know.
    Unknown(u32),
}

impl Text {
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Handshake => {
                br#"{"type":"handshake","source":"mic","sample_rate":16000,"device_id":"d-\u00e7"}"#
                    .to_vec()
            }
            Self::WrongSource => {
                br#"{"type":"handshake","source":"sys","sample_rate":16000,"device_id":"d"}"#
                    .to_vec()
            }
            Self::NotJson => "merhaba dünya".as_bytes().to_vec(),
            Self::Ping => br#"{"type":"ping"}"#.to_vec(),
            Self::Pong => br#"{"type":"pong"}"#.to_vec(),
            Self::Pause => br#"{"type":"pause"}"#.to_vec(),
            Self::Resume => br#"{"type":"resume"}"#.to_vec(),
            Self::Finalize => br#"{"type":"finalize"}"#.to_vec(),
            Self::Done => br#"{"type":"close"}"#.to_vec(),
            Self::Unknown(n) => format!(r#"{{"type":"later","n":{n},"text":"şğ"}}"#).into_bytes(),
        }
    }
}

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;
pub const FIN: u8 = 0x80;

impl Item {
    fn new(bytes: Vec<u8>, meaning: Meaning) -> Self {
        let length = bytes.len();
        Self {
            bytes: Blob(bytes),
            meaning,
            earliest: length,
            latest: length,
        }
    }

    pub fn upgrade(path: &str) -> Self {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: sim\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        Self::new(request.into_bytes(), Meaning::Upgrade)
    }

    pub fn no_upgrade(path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: sim\r\n\r\n");
        Self::new(request.into_bytes(), Meaning::NoUpgrade)
    }

    pub fn frame(first: u8, payload: &[u8], mask: [u8; 4], meaning: Meaning) -> Self {
        Self::new(frame(first, payload, Some(mask)), meaning)
    }

    /// A violation that shows in a frame's header.
    pub fn bad_header(bytes: Vec<u8>, header: usize, code: u16) -> Self {
        Self {
            earliest: 2,
            latest: header,
            ..Self::new(bytes, Meaning::Violation(code))
        }
    }

    /// A part of a frame, that never becomes a whole one.
    pub fn torn(mut bytes: Vec<u8>, keep: usize) -> Self {
        bytes.truncate(keep);
        Self::new(bytes, Meaning::Part)
    }
}

/// One frame (RFC 6455, section 5.2).
pub fn frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64, mask);
    let key = mask.unwrap_or_default();
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    bytes
}

/// A frame's header, whatever it promises.
pub fn header(first: u8, length: u64, mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    if let Ok(short @ 0..=125) = u8::try_from(length) {
        bytes.push(masked | short);
    } else if let Ok(middle) = u16::try_from(length) {
        bytes.push(masked | 126);
        bytes.extend(middle.to_be_bytes());
    } else {
        bytes.push(masked | 127);
        bytes.extend(length.to_be_bytes());
    }
    bytes.extend(mask.iter().flatten());
    bytes
}
