//! Writer of frames.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, BytesMut};
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::mask::apply_mask;

/// Maximum length of a header, in bytes (section 5.2).
const MAX_HEADER: usize = 14;

/// Maximum size, in bytes, of a buffer that is kept for the next queue.
const MAX_SPARE: usize = 64 * 1024;

thread_local! {
    /// Buffer of the last queue that was written. The next queue of any connection on this thread
    /// starts with it, so it need not grow, and a connection without output holds no buffer.
    static SPARE: RefCell<BytesMut> = RefCell::default();
}

/// Whether frames are masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Masking {
    None,
    /// Masked with a random key for each frame, which the sender of the payload cannot predict
    /// (section 10.3).
    Random,
}

/// Queue of complete frames, and their writer. An interrupted write continues where it was, so no
/// frame is ever torn.
pub struct FrameWriter<W> {
    io: W,
    masking: Masking,
    queued: BytesMut,
    last_progress: Instant,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writer to a client.
    pub fn new(io: W) -> Self {
        Self::with(Masking::None, io)
    }

    /// Writer to a server.
    pub fn to_server(io: W) -> Self {
        Self::with(Masking::Random, io)
    }

    fn with(masking: Masking, io: W) -> Self {
        Self {
            io,
            masking,
            queued: BytesMut::new(),
            last_progress: Instant::now(),
        }
    }

    /// Number of bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.queued.len()
    }

    /// Time when the transport last accepted bytes, or when the queue began.
    pub fn last_progress(&self) -> Instant {
        self.last_progress
    }

    /// Queues a TEXT message.
    pub fn text(&mut self, text: &[u8]) {
        self.push(OpCode::Data(Data::Text), &[text]);
    }

    /// Queues a BINARY message.
    pub fn binary(&mut self, payload: &[u8]) {
        self.push(OpCode::Data(Data::Binary), &[payload]);
    }

    /// Queues a Ping; `payload` has at most 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) {
        self.push(OpCode::Control(Control::Ping), &[payload]);
    }

    /// Queues a Pong; `payload` is the Ping's, at most 125 bytes.
    pub fn pong(&mut self, payload: &[u8]) {
        self.push(OpCode::Control(Control::Pong), &[payload]);
    }

    /// Queues a Close. For a client, only the close stage calls this.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.push(
            OpCode::Control(Control::Close),
            &[&code.to_be_bytes(), reason.as_bytes()],
        );
    }

    /// Queues a Close without a body, which answers one without a body.
    pub fn close_without_code(&mut self) {
        self.push(OpCode::Control(Control::Close), &[]);
    }

    fn push(&mut self, opcode: OpCode, parts: &[&[u8]]) {
        if self.queued.is_empty() {
            self.queued = SPARE.take();
            self.last_progress = Instant::now();
        }
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mask = match self.masking {
            Masking::None => None,
            Masking::Random => Some(rand::random()),
        };
        let header = FrameHeader {
            opcode,
            mask,
            ..FrameHeader::default()
        };
        self.queued.reserve(length + MAX_HEADER);
        // Writing to a growing buffer cannot fail.
        let _ = header.format(length as u64, &mut (&mut self.queued).writer());
        let payload = self.queued.len();
        for part in parts {
            self.queued.put_slice(part);
        }
        if let Some(mask) = mask {
            apply_mask(&mut self.queued[payload..], mask);
        }
    }

    /// Writes until the queue is empty.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queued.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.queued))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.last_progress = Instant::now();
            if written == self.queued.len() {
                self.give_back();
            } else {
                self.queued.advance(written);
            }
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn give_back(&mut self) {
        let mut queue = mem::take(&mut self.queued);
        queue.clear();
        if queue.capacity() <= MAX_SPARE {
            SPARE.set(queue);
        }
    }

    /// Discards the queue, because the transport accepts no more.
    pub fn discard(&mut self) {
        self.give_back();
    }

    /// Shuts down the write side, so that the peer sees the end of the stream.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;
    use crate::frame::{FrameReader, Message};

    #[tokio::test]
    async fn a_write_that_is_interrupted_goes_on_where_it_was() {
        let (mut client, host) = duplex(3);
        let mut writer = FrameWriter::new(host);
        writer.binary(&[5; 10]);
        writer.close(1000, "bye");
        let mut received = Vec::new();
        for _ in 0..100 {
            // Each flush is given up as soon as the transport is full.
            let flushed = futures_util::poll!(std::pin::pin!(poll_fn(|cx| writer.poll_flush(cx))));
            if writer.queued() == 0 {
                assert!(flushed.is_ready());
                break;
            }
            let mut some = [0; 3];
            let read = client.read(&mut some).await.unwrap();
            received.extend_from_slice(&some[..read]);
        }
        drop(writer);
        client.read_to_end(&mut received).await.unwrap();
        assert_eq!(
            received,
            b"\x82\x0a\x05\x05\x05\x05\x05\x05\x05\x05\x05\x05\x88\x05\x03\xe8bye"
        );
    }

    #[tokio::test]
    async fn what_is_written_to_a_server_is_masked_and_reads_as_it_was() {
        let (host, server) = duplex(1 << 20);
        let mut writer = FrameWriter::to_server(host);
        let payload = vec![7; 700];
        writer.binary(&payload);
        writer.binary(&payload);
        poll_fn(|cx| writer.poll_flush(cx)).await.unwrap();
        drop(writer);
        let mut reader = FrameReader::of_client(server, 1000, BytesMut::new());
        for _ in 0..2 {
            // A reader of a client's frames refuses one without a mask.
            let message = poll_fn(|cx| reader.poll_next(cx)).await.unwrap();
            assert_eq!(message, Message::Binary(payload.clone().into()));
        }
    }
}
