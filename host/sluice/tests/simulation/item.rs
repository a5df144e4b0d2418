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
    /// The next so many bytes of what a client has to say. They are put in when
    /// it knows where its stream goes on.
    Speech(usize),
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
    /// With the feature `ack`.
    HandshakeForReceipts,
    /// With `ack` and `resume`.
    HandshakeToResume,
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
    /// Whether it is a handshake, and one that is valid.
    pub fn greets(self) -> bool {
        use Text::{Handshake, HandshakeForReceipts, HandshakeToResume};
        matches!(self, Handshake | HandshakeForReceipts | HandshakeToResume)
    }

    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Handshake => {
                br#"{"type":"handshake","source":"mic","sample_rate":16000,"device_id":"d-\u00e7"}"#
                    .to_vec()
            }
            Self::HandshakeForReceipts => {
                br#"{"type":"handshake","sample_rate":16000,"device_id":"d","features":["ack"]}"#
                    .to_vec()
            }
            Self::HandshakeToResume => {
                br#"{"type":"handshake","sample_rate":16000,"device_id":"d","features":["ack","resume"]}"#
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

    pub fn upgrade(path: &str, headers: &str) -> Self {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: sim\r\n{headers}Connection: Upgrade\r\nUpgrade: websocket\r\n\
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

    /// BINARY whose payload is still to be put in.
    pub fn speech(length: usize) -> Self {
        let bytes = frame(FIN | BINARY, &vec![0; length], Some(UNMASKED));
        Self::new(bytes, Meaning::Speech(length))
    }

    /// What is sent for this, by a client at this place of its stream that has
    /// this token.
    pub fn fill(&self, place: u64, token: &str) -> Vec<u8> {
        let mut bytes = self.bytes.0.clone();
        match self.meaning {
            Meaning::Speech(length) => {
                let header = bytes.len() - length;
                bytes[header..].copy_from_slice(&speech(place, length));
            }
            Meaning::Upgrade => {
                let hole = bytes
                    .windows(TOKEN.len())
                    .position(|it| it == TOKEN.as_bytes());
                if let Some(at) = hole {
                    bytes[at..at + TOKEN.len()].copy_from_slice(token.as_bytes());
                }
            }
            _ => {}
        }
        bytes
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

/// Stands for a token, and is none.
pub const TOKEN: &str = "---------------------------------------------------------";
/// With this mask a payload goes as it is.
const UNMASKED: [u8; 4] = [0; 4];

/// What a client has to say, from a place on: no part of it looks like another.
pub fn speech(place: u64, length: usize) -> Vec<u8> {
    let byte = |at: u64| (at ^ (at >> 8).wrapping_mul(31) ^ (at >> 16)) as u8;
    (place..).take(length).map(byte).collect()
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
