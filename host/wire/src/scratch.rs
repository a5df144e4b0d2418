//! Where reads land first: one buffer for each thread, shared by all of its connections, so that
//! one which waits for its peer holds no buffer at all.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes that one read takes from the transport at the most.
const SCRATCH: usize = 32 * 1024;

thread_local! {
    static READ_SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// Reads once, and adds what came to `received`. `0` is the end of the transport.
pub fn poll_read<I: AsyncRead + Unpin>(
    io: &mut I,
    cx: &mut Context<'_>,
    received: &mut BytesMut,
) -> Poll<io::Result<usize>> {
    READ_SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        received.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}

/// [`poll_read`] to wait for.
///
/// # Errors
/// Where the transport broke.
pub async fn read<I: AsyncRead + Unpin>(io: &mut I, received: &mut BytesMut) -> io::Result<usize> {
    std::future::poll_fn(|cx| poll_read(io, cx, received)).await
}
