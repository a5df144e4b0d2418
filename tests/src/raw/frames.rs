//! Frames of RFC 6455.

use std::io::ErrorKind;

use serde_json::Value;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::Raw;

/// Received frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// Kind of frame.
    pub opcode: OpCode,
    /// Payload of the frame.
    pub payload: Vec<u8>,
}

impl Received {
    /// Code and reason, if it is a Close.
    pub fn close(&self) -> Option<(u16, &str)> {
        let (code, reason) = self.payload.split_first_chunk::<2>()?;
        let is_close = self.opcode == OpCode::Control(Control::Close);
        is_close.then_some((u16::from_be_bytes(*code), std::str::from_utf8(reason).ok()?))
    }
}

impl Raw {
    /// Next frame; `None` at the end of the stream.
    ///
    /// # Panics
    /// If the peer resets the connection, or sends an invalid frame.
    pub fn frame(&mut self) -> Option<Received> {
        self.try_frame().expect("the end is clean, and no reset")
    }

    /// Next frame of a peer that may reset the connection; `None` at the end of the stream.
    ///
    /// # Errors
    /// If the peer resets the connection, or the stream ends within a frame.
    ///
    /// # Panics
    /// If the peer sends an invalid frame.
    pub fn try_frame(&mut self) -> std::io::Result<Option<Received>> {
        loop {
            let mut bytes = std::io::Cursor::new(&self.pending[..]);
            if let Some((header, length)) =
                FrameHeader::parse(&mut bytes).expect("frames are well-formed")
            {
                let start = usize::try_from(bytes.position()).unwrap();
                let end = start + usize::try_from(length).unwrap();
                if self.pending.len() >= end {
                    assert!(header.is_final && header.mask.is_none(), "{header:?}");
                    let payload = self.pending[start..end].to_vec();
                    self.pending.drain(..end);
                    return Ok(Some(Received {
                        opcode: header.opcode,
                        payload,
                    }));
                }
            }
            if !self.read()? {
                // A read reports a reset that a write has seen before as a normal end.
                let whole = self.pending.is_empty();
                return if whole {
                    Ok(None)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Next frame, which must be a TEXT message with JSON.
    ///
    /// # Panics
    /// If it is something else.
    pub fn message(&mut self) -> Value {
        let frame = self.frame().expect("a message");
        assert_eq!(frame.opcode, OpCode::Data(Data::Text), "{frame:?}");
        serde_json::from_slice(&frame.payload).expect("messages are JSON")
    }

    /// Sends a frame, masked.
    ///
    /// # Panics
    /// If the peer has reset the connection.
    pub fn send(&mut self, opcode: OpCode, payload: &[u8]) {
        self.write(&masked(opcode, payload))
            .expect("the gateway reads");
    }
}

/// Complete message in one masked frame.
///
/// # Panics
/// Never, because writing to a vector cannot fail.
pub fn masked(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let header = FrameHeader {
        opcode,
        mask: Some(mask),
        ..FrameHeader::default()
    };
    let mut bytes = Vec::with_capacity(payload.len() + 14);
    let length = payload.len() as u64;
    header
        .format(length, &mut bytes)
        .expect("a vector takes everything");
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// TEXT message in one masked frame.
pub fn text(message: &str) -> Vec<u8> {
    masked(OpCode::Data(Data::Text), message.as_bytes())
}

/// BINARY message in one masked frame.
pub fn binary(message: &[u8]) -> Vec<u8> {
    masked(OpCode::Data(Data::Binary), message)
}
