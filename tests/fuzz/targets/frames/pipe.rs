//! Transports in memory that give and take bytes in pieces, and are not ready
//! before every other piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of the longest piece.
pub const fn longest(cut: u8) -> usize {
    if cut == 0 { 4096 } else { 23 }
}

/// Sizes of pieces that look arbitrary and follow from one byte; 0 cuts as
/// little as it can.
#[derive(Clone, Copy)]
struct Cuts {
    state: u8,
    ready: bool,
}

impl Cuts {
    fn new(cut: u8) -> Self {
        Self {
            state: cut,
            ready: true,
        }
    }

    /// The size of the next piece; `Pending` in between.
    fn next(&mut self) -> Poll<usize> {
        self.ready = !self.ready;
        if self.ready {
            return Poll::Pending;
        }
        if self.state == 0 {
            return Poll::Ready(longest(0));
        }
        let size = usize::from(self.state) % longest(self.state) + 1;
        self.state = self.state.wrapping_mul(5).wrapping_add(7).max(1);
        Poll::Ready(size)
    }
}

/// Gives `rest` in pieces, then ends.
pub struct Pieces<'a> {
    rest: &'a [u8],
    cuts: Cuts,
}

impl<'a> Pieces<'a> {
    pub fn new(rest: &'a [u8], cut: u8) -> Self {
        Self {
            rest,
            cuts: Cuts::new(cut),
        }
    }
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Poll::Ready(size) = self.cuts.next() else {
            return Poll::Pending;
        };
        let size = size.min(self.rest.len()).min(buffer.remaining());
        let (piece, rest) = self.rest.split_at(size);
        buffer.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

/// Takes bytes in pieces.
pub struct Sink {
    pub taken: Vec<u8>,
    cuts: Cuts,
}

impl Sink {
    pub fn new(cut: u8) -> Self {
        Self {
            taken: Vec::new(),
            cuts: Cuts::new(cut),
        }
    }
}

impl AsyncWrite for &mut Sink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(size) = self.cuts.next() else {
            return Poll::Pending;
        };
        let size = size.min(bytes.len());
        self.taken.extend_from_slice(&bytes[..size]);
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls until it is done. What is polled here is never pending twice.
pub fn finish<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = poll(&mut cx) {
            return done;
        }
    }
}
