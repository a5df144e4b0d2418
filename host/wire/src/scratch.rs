//! Read buffer of a thread, shared by all of its connections. A connection that waits for its peer
//! holds no buffer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

/// Maximum number of bytes of one read.
const SCRATCH: usize = 32 * 1024;

thread_local! {
    static READ_SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH]);
}

/// Reads once, and appends the bytes to `received`. `0` is the end of the transport.
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

/// [`poll_read`] as an async function.
///
/// # Errors
/// If the transport failed.
pub async fn read<I: AsyncRead + Unpin>(io: &mut I, received: &mut BytesMut) -> io::Result<usize> {
    std::future::poll_fn(|cx| poll_read(io, cx, received)).await
}
