//! RFC 6455 read plainly: all bytes are there, and nothing has to be fast.

use bytes::Bytes;
use wire::frame::{Message, PeerClose};

/// How the bytes end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a Close.
    Closed,
    /// In the middle of something, or between frames.
    Eof,
    /// Close code 1002.
    Protocol,
    /// Close code 1007.
    NotUtf8,
    /// Close code 1009.
    TooBig,
}

/// Section 7.4: codes that a Close may carry. 1004, 1005, 1006 and 1015 are
/// reserved, and 1016 to 2999 are for later versions of the protocol.
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
}

/// The messages in `bytes`, and how they end.
pub fn read(bytes: &[u8], max_message: usize) -> (Vec<Message>, End) {
    let mut messages = Vec::new();
    let end = frames(bytes, max_message, &mut messages);
    (messages, end)
}

/// A header (section 5.2) and what comes after it.
struct Header<'a> {
    is_final: bool,
    reserved_bits: u8,
    opcode: u8,
    length: u64,
    shortest: bool,
    mask: Option<[u8; 4]>,
    rest: &'a [u8],
}

fn header(bytes: &[u8]) -> Option<Header<'_>> {
    let ([first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (length, shortest, rest) = match second & 0x7f {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            let length = u64::from(u16::from_be_bytes(*length));
            (length, length > 125, rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            let length = u64::from_be_bytes(*length);
            (length, length > 0xffff, rest)
        }
        length => (u64::from(length), true, rest),
    };
    let (mask, rest) = if second & 0x80 == 0 {
        (None, rest)
    } else {
        let (mask, rest) = rest.split_first_chunk::<4>()?;
        (Some(*mask), rest)
    };
    Some(Header {
        is_final: first & 0x80 != 0,
        reserved_bits: first & 0x70,
        opcode: first & 0x0f,
        length,
        shortest,
        mask,
        rest,
    })
}

fn frames(mut bytes: &[u8], max_message: usize, messages: &mut Vec<Message>) -> End {
    // Of a fragmented message: its opcode and what came so far.
    let mut begun: Option<(u8, Vec<u8>)> = None;
    while let Some(header) = header(bytes) {
        let Header {
            is_final,
            opcode,
            length,
            rest,
            ..
        } = header;
        let control = opcode >= 8;
        let Some(mask) = header.mask else {
            return End::Protocol;
        };
        if header.reserved_bits != 0
            || !header.shortest
            || !matches!(opcode, 0..=2 | 8..=10)
            || length > u64::MAX >> 1
            || control && (!is_final || length > 125)
            || !control && (opcode == 0) != begun.is_some()
        {
            return End::Protocol;
        }
        let so_far = begun.as_ref().map_or(0, |(_, payload)| payload.len());
        if !control && (so_far as u64).saturating_add(length) > max_message as u64 {
            return End::TooBig;
        }
        let Some((payload, rest)) = usize::try_from(length)
            .ok()
            .and_then(|length| rest.split_at_checked(length))
        else {
            return End::Eof;
        };
        bytes = rest;
        let payload: Vec<u8> = std::iter::zip(payload, mask.iter().cycle())
            .map(|(byte, key)| byte ^ key)
            .collect();
        match opcode {
            8 => match close(&payload) {
                Ok(close) => {
                    messages.push(Message::Close(close));
                    return End::Closed;
                }
                Err(end) => return end,
            },
            9 => messages.push(Message::Ping(payload.into())),
            10 => messages.push(Message::Pong(payload.into())),
            _ => {
                let (kind, mut whole) = begun.take().unwrap_or((opcode, Vec::new()));
                whole.extend(payload);
                if kind == 1 && !may_become_text(&whole, is_final) {
                    return End::NotUtf8;
                }
                if !is_final {
                    begun = Some((kind, whole));
                    continue;
                }
                let whole = Bytes::from(whole);
                messages.push(match kind {
                    1 => Message::Text(whole),
                    _ => Message::Binary(whole),
                });
            }
        }
    }
    End::Eof
}

/// Whether something that comes later can still make it UTF-8.
fn may_become_text(bytes: &[u8], complete: bool) -> bool {
    match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && !complete,
    }
}

fn close(body: &[u8]) -> Result<Option<PeerClose>, End> {
    let (code, reason) = match body {
        [] => return Ok(None),
        [_] => return Err(End::Protocol),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !may_be_sent(code) {
        return Err(End::Protocol);
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Some(PeerClose {
            code,
            reason: reason.to_owned(),
        })),
        Err(_) => Err(End::NotUtf8),
    }
}
