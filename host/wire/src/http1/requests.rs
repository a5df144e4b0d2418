//! The requests of one connection, one after the other.

use std::io;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{Answer, Head, HeadError, MAX_HEAD};
use crate::scratch;

/// How long the last answer's client may go on sending, and how many bytes, before the connection
/// is let go of: input that nobody reads would destroy the answer.
const LINGER: Duration = Duration::from_secs(2);
const MAX_DISCARD: usize = 16 * 1024 * 1024;

/// A connection, and what came on it that is no whole request yet.
pub struct Requests<I> {
    io: I,
    received: BytesMut,
}

/// Why there is no next request.
#[derive(Debug)]
pub enum RequestError {
    /// The client is to be told this.
    Bad(Answer),
    /// The transport broke.
    Io(io::Error),
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A head that has no end in [`MAX_HEAD`] bytes.
const TOO_LARGE: RequestError = RequestError::Bad(Answer {
    status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    message: "the request's head is larger than 64 KiB",
    headers: &[],
});

impl<I: AsyncRead + AsyncWrite + Unpin> Requests<I> {
    /// Nothing has been received yet.
    pub fn new(io: I) -> Self {
        Self {
            io,
            received: BytesMut::new(),
        }
    }

    /// The next whole head; `None` where the client's side has ended.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn next(&mut self) -> Result<Option<BytesMut>, RequestError> {
        let mut searched = 0;
        let mut first_line = FirstLine::Open;
        loop {
            if searched == 0 {
                // RFC 9112, section 2.2.
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
            // The end may have begun.
            searched = self.received.len().saturating_sub(2);
            if scratch::read(&mut self.io, &mut self.received).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Writes an answer.
    ///
    /// # Errors
    /// Where the transport broke.
    pub async fn answer(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Writes the last answer, and stays until the client has had its chance to read it.
    ///
    /// # Errors
    /// Where the transport broke.
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
            // It is held all the same, without reading, until the time is up.
            std::future::pending().await
        };
        timeout(LINGER, staying).await.unwrap_or(Ok(()))
    }

    /// The transport, and what came behind the last request.
    pub fn into_parts(self) -> (I, BytesMut) {
        // A copy: the rest would keep alive what the heads were read into.
        (self.io, BytesMut::from(&self.received[..]))
    }
}

/// Whether the request line has been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstLine {
    Open,
    Seen,
}

/// Where the empty line ends that ends a head, searched from there.
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
