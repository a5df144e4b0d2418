//! Requests of one connection, in order.

use std::io;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{Answer, Head, HeadError, MAX_HEAD};
use crate::scratch;

/// Time after the last answer in which the gateway reads and discards input. Closing a socket with
/// unread input would destroy the answer.
const LINGER: Duration = Duration::from_secs(2);
const MAX_DISCARD: usize = 16 * 1024 * 1024;

/// Connection, with the received bytes that are no complete request yet.
pub struct Requests<I> {
    io: I,
    received: BytesMut,
}

/// Reason why there is no next request.
#[derive(Debug)]
pub enum RequestError {
    /// Invalid request, and the answer to it.
    Bad(Answer),
    /// Failed transport.
    Io(io::Error),
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Answer to a head without an end within [`MAX_HEAD`] bytes.
const TOO_LARGE: RequestError = RequestError::Bad(Answer {
    status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    message: "the request's head is larger than 64 KiB",
    headers: &[],
});

impl<I: AsyncRead + AsyncWrite + Unpin> Requests<I> {
    /// Wraps a connection from which nothing was read.
    pub fn new(io: I) -> Self {
        Self {
            io,
            received: BytesMut::new(),
        }
    }

    /// Next complete head; `None` at the end of the client's side.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn next(&mut self) -> Result<Option<BytesMut>, RequestError> {
        let mut searched = 0;
        let mut first_line = FirstLine::Open;
        loop {
            if searched == 0 {
                // Empty lines before a request are skipped (RFC 9112, section 2.2).
                let empty = self
                    .received
                    .iter()
                    .take_while(|b| matches!(b, b'\r' | b'\n'));
                self.received.advance(empty.count());
            }
            if let Some(end) = end_of_head(&self.received, searched) {
                if end > MAX_HEAD {
                    return Err(TOO_LARGE);
                }
                return Ok(Some(self.received.split_to(end)));
            }
            if self.received.len() >= MAX_HEAD {
                return Err(TOO_LARGE);
            }
            if first_line == FirstLine::Open {
                if !Head::may_begin_with(&self.received) {
                    return Err(RequestError::Bad(HeadError::Malformed.into()));
                }
                if self.received.contains(&b'\n') {
                    first_line = FirstLine::Seen;
                }
            }
            // The empty line may have begun in these bytes.
            searched = self.received.len().saturating_sub(2);
            if scratch::read(&mut self.io, &mut self.received).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Writes an answer.
    ///
    /// # Errors
    /// If the transport failed.
    pub async fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Writes the last answer, and gives the client time to read it.
    ///
    /// # Errors
    /// If the transport failed.
    pub async fn answer_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        let staying = async {
            self.answer(bytes).await?;
            self.io.shutdown().await?;
            let mut discarded = 0;
            while discarded < MAX_DISCARD {
                self.received.clear();
                match scratch::read(&mut self.io, &mut self.received).await? {
                    0 => return Ok(()),
                    read => discarded += read,
                }
            }
            // The connection is held without reading until the time is over.
            std::future::pending().await
        };
        timeout(LINGER, staying).await.unwrap_or(Ok(()))
    }

    /// The transport, and the bytes behind the last request.
    pub fn into_parts(self) -> (I, BytesMut) {
        // A copy, because the rest would keep the buffer of the heads alive.
        (self.io, BytesMut::from(&self.received[..]))
    }
}

/// Whether the request line was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstLine {
    Open,
    Seen,
}

/// End of the empty line that ends a head, searched from a position.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == b'\n')? + 1;
        match bytes.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
