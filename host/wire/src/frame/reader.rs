//! Reader of frames, which assembles messages within limits.

use std::io::{self, Cursor};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncRead;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::mask::apply_mask;
use super::{Message, PeerClose, ReadError, Violation};
use crate::scratch;

/// Maximum payload of a control frame, in bytes (RFC 6455, section 5.5).
const MAX_CONTROL: u64 = 125;
/// Maximum payload of any frame, in bytes: the top bit of a length is always 0 (section 5.2).
const MAX_LENGTH: u64 = u64::MAX >> 1;

/// Sender of the frames. A client masks its frames, and a server must not (RFC 6455, section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FrameSender {
    Client,
    Server,
}

/// Reader that assembles a peer's frames into messages.
pub struct FrameReader<R> {
    io: R,
    peer: FrameSender,
    max_message: usize,
    /// Bytes that were received and not parsed yet.
    received: BytesMut,
    partial: Option<Partial>,
    last_received: Instant,
    unfinished_since: Option<Instant>,
    total: u64,
}

struct Partial {
    kind: Data,
    payload: BytesMut,
    /// Number of bytes of a text message that are known to be UTF-8.
    valid: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reader of a client's frames. `max_message` is the maximum size of a message, in bytes, and
    /// `received` is what came behind the client's request.
    pub fn of_client(io: R, max_message: usize, received: BytesMut) -> Self {
        Self::of(FrameSender::Client, io, max_message, received)
    }

    /// Reader of a server's frames. `received` is what came behind its answer to the upgrade.
    pub fn of_server(io: R, max_message: usize, received: BytesMut) -> Self {
        Self::of(FrameSender::Server, io, max_message, received)
    }

    fn of(peer: FrameSender, io: R, max_message: usize, received: BytesMut) -> Self {
        Self {
            io,
            peer,
            max_message,
            received,
            partial: None,
            last_received: Instant::now(),
            unfinished_since: None,
            total: 0,
        }
    }

    /// Time of the last received bytes.
    pub fn last_received(&self) -> Instant {
        self.last_received
    }

    /// Time when the incomplete message began, if there is one.
    pub fn unfinished_since(&self) -> Option<Instant> {
        self.unfinished_since
    }

    /// Number of bytes received from the transport.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Number of bytes of frames and fragments that are no complete message yet.
    pub fn buffered(&self) -> usize {
        let partial = self.partial.as_ref();
        self.received.len() + partial.map_or(0, |partial| partial.payload.len())
    }

    /// Advances the clocks of the input by a time in which the gateway did not read.
    pub fn resume(&mut self, held: Duration) {
        self.last_received += held;
        self.unfinished_since = self.unfinished_since.map(|since| since + held);
    }

    /// Next message. Cancel-safe: dropping a poll loses nothing.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, ReadError>> {
        loop {
            if let Some(message) = self.parse()? {
                self.note_progress();
                return Poll::Ready(Ok(message));
            }
            self.note_progress();
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(ReadError::Eof));
            }
        }
    }

    /// Reads and discards bytes. `0` is the end of the transport.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received = BytesMut::new();
        self.partial = None;
        let read = ready!(self.poll_fill(cx))?;
        self.received.clear();
        Poll::Ready(Ok(read))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = ready!(scratch::poll_read(&mut self.io, cx, &mut self.received))?;
        self.total += read as u64;
        self.last_received = Instant::now();
        Poll::Ready(Ok(read))
    }

    fn note_progress(&mut self) {
        if self.received.is_empty() {
            // Frees the buffer: an idle connection holds none.
            self.received = BytesMut::new();
        }
        if self.received.is_empty() && self.partial.is_none() {
            self.unfinished_since = None;
        } else {
            // The message began with the last read. Asking the clock for each frame would cost as
            // much as parsing it.
            self.unfinished_since.get_or_insert(self.last_received);
        }
    }

    /// Parses received frames until a message is complete.
    fn parse(&mut self) -> Result<Option<Message>, Violation> {
        while let Some((header, header_len, length)) = self.header()? {
            let Ok(length) = usize::try_from(length) else {
                return Err(Violation::TooBig);
            };
            if self.received.len() - header_len < length {
                return Ok(None);
            }
            self.received.advance(header_len);
            let mut payload = self.received.split_to(length);
            if let Some(mask) = header.mask {
                apply_mask(&mut payload, mask);
            }
            if let Some(message) = self.accept(&header, payload)? {
                // A complete message restarts the clock of the next one. A control frame inside of
                // a message does not: a client could otherwise keep a message incomplete for ever
                // by pinging.
                if self.partial.is_none() {
                    self.unfinished_since = None;
                }
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// A complete header. It is checked against everything that is known before the payload
    /// arrives, so that no refused frame is ever buffered.
    fn header(&self) -> Result<Option<(FrameHeader, usize, u64)>, Violation> {
        let mut cursor = Cursor::new(&self.received[..]);
        let parsed =
            FrameHeader::parse(&mut cursor).map_err(|_| Violation::Protocol("reserved opcode"))?;
        let Some((header, length)) = parsed else {
            return Ok(None);
        };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::Protocol("reserved bit is set"));
        }
        match (self.peer, header.mask) {
            (FrameSender::Client, None) => return Err(Violation::Protocol("frame is not masked")),
            (FrameSender::Server, Some(_)) => return Err(Violation::Protocol("frame is masked")),
            (FrameSender::Client, Some(_)) | (FrameSender::Server, None) => {}
        }
        if length > MAX_LENGTH {
            return Err(Violation::Protocol("length has its top bit set"));
        }
        // Section 5.2 demands the shortest form. A second form of the same frame could pass by
        // filters on the way.
        let header_len = header.len(length);
        if cursor.position() != header_len as u64 {
            return Err(Violation::Protocol("length is not in its shortest form"));
        }
        match header.opcode {
            OpCode::Control(_) if !header.is_final => {
                return Err(Violation::Protocol("control frame is fragmented"));
            }
            OpCode::Control(_) if length > MAX_CONTROL => {
                return Err(Violation::Protocol("control frame is too long"));
            }
            OpCode::Control(_) => {}
            OpCode::Data(kind) => {
                match (kind, &self.partial) {
                    (Data::Continue, None) => {
                        return Err(Violation::Protocol("continuation of no message"));
                    }
                    (Data::Text | Data::Binary, Some(_)) => {
                        return Err(Violation::Protocol("message inside a fragmented message"));
                    }
                    _ => {}
                }
                let so_far = self
                    .partial
                    .as_ref()
                    .map_or(0, |partial| partial.payload.len());
                if length > (self.max_message - so_far) as u64 {
                    return Err(Violation::TooBig);
                }
            }
        }
        Ok(Some((header, header_len, length)))
    }

    fn accept(
        &mut self,
        header: &FrameHeader,
        payload: BytesMut,
    ) -> Result<Option<Message>, Violation> {
        match header.opcode {
            OpCode::Control(Control::Ping) => Ok(Some(Message::Ping(payload.freeze()))),
            OpCode::Control(Control::Pong) => Ok(Some(Message::Pong(payload.freeze()))),
            OpCode::Control(Control::Close) => {
                close(&payload).map(|close| Some(Message::Close(close)))
            }
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
                Err(Violation::Protocol("reserved opcode"))
            }
            OpCode::Data(kind) => self.accept_data(kind, header.is_final, payload),
        }
    }

    fn accept_data(
        &mut self,
        kind: Data,
        last: bool,
        payload: BytesMut,
    ) -> Result<Option<Message>, Violation> {
        let mut whole = match self.partial.take() {
            None => Partial {
                kind,
                payload,
                valid: 0,
            },
            Some(mut partial) => {
                partial.payload.extend_from_slice(&payload);
                partial
            }
        };
        if whole.kind == Data::Text {
            whole.check_utf8(last)?;
        }
        if !last {
            self.partial = Some(whole);
            return Ok(None);
        }
        let payload = whole.payload.freeze();
        Ok(Some(match whole.kind {
            Data::Text => Message::Text(payload),
            _ => Message::Binary(payload),
        }))
    }
}

impl Partial {
    /// Checks that a text is UTF-8. Fragments may split a character; the end of the message may
    /// not.
    fn check_utf8(&mut self, last: bool) -> Result<(), Violation> {
        match std::str::from_utf8(&self.payload[self.valid..]) {
            Ok(_) => self.valid = self.payload.len(),
            Err(error) if error.error_len().is_some() || last => return Err(Violation::NotUtf8),
            Err(error) => self.valid += error.valid_up_to(),
        }
        Ok(())
    }
}

/// Body of a Close: empty, or a code and a reason (section 5.5.1).
fn close(body: &[u8]) -> Result<Option<PeerClose>, Violation> {
    let Some((code, reason)) = body.split_first_chunk::<2>() else {
        return if body.is_empty() {
            Ok(None)
        } else {
            Err(Violation::Protocol("close body of one byte"))
        };
    };
    let code = u16::from_be_bytes(*code);
    if !CloseCode::from(code).is_allowed() {
        return Err(Violation::Protocol("close code that is never on the wire"));
    }
    let reason = std::str::from_utf8(reason)
        .map_err(|_| Violation::NotUtf8)?
        .to_owned();
    Ok(Some(PeerClose { code, reason }))
}

#[cfg(test)]
mod tests;
