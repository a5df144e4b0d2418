//! Frames of RFC 6455 as a client sends and reads them. The layout of their
//! headers is tungstenite's.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
pub use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// A client may choose any key (section 5.3); one that is always the same lets
/// a frame be masked once and sent often.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A whole masked frame.
pub fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        opcode,
        mask: Some(MASK),
        ..FrameHeader::default()
    };
    let mut frame = Vec::with_capacity(payload.len() + 14);
    // Writing to a Vec has no way to fail.
    let _ = header.format(payload.len() as u64, &mut frame);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, k)| b ^ k));
    frame
}

/// A whole frame of a server.
pub fn unmasked(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        opcode,
        ..FrameHeader::default()
    };
    let mut frame = Vec::with_capacity(payload.len() + 10);
    // Writing to a Vec has no way to fail.
    let _ = header.format(payload.len() as u64, &mut frame);
    frame.extend_from_slice(payload);
    frame
}

/// The header of the frame that `received` begins with, the header's length
/// and the payload's. `None` where that is not all there yet.
pub fn header(received: &[u8]) -> Result<Option<(FrameHeader, usize, usize)>, &'static str> {
    let parsed = FrameHeader::parse(&mut Cursor::new(received))
        .map_err(|_| "the server sent a frame with a reserved opcode")?;
    let Some((header, length)) = parsed else {
        return Ok(None);
    };
    if header.mask.is_some() {
        return Err("the server sent a masked frame");
    }
    let header_length = header.len(length);
    let length = usize::try_from(length).map_err(|_| "the server sent a frame beyond measure")?;
    Ok(Some((header, header_length, length)))
}
