//! What a client that never ends to send costs: so many bytes and so much time.

use std::io;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::routes::Routes;
use crate::routes::testing::{connect, gateway, request, routes};
use base::limits::Limits;
use upstream::discard::Discard;

const MAX_DISCARD: usize = 1 << 20;
/// Bytes that are read before the Close is sent: of the request's connection, and of the frames.
const AHEAD: usize = 64 * 1024;
const EXPECTED: RangeInclusive<usize> = MAX_DISCARD..=MAX_DISCARD + AHEAD;

/// A client that always has more to send, and takes what it is sent. It ends
/// far beyond the bound, so that a host without one ends too.
struct Flood {
    first: Vec<u8>,
    then: Vec<u8>,
    seen: Arc<Seen>,
}

/// What the host did with it.
#[derive(Default)]
struct Seen {
    read: AtomicUsize,
    written: Mutex<Vec<u8>>,
    dropped: Mutex<Option<Instant>>,
}

impl AsyncRead for Flood {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.seen.read.load(Ordering::Relaxed);
        let all = self.first.iter().chain(self.then.iter().cycle());
        let at = match read.checked_sub(self.first.len()) {
            Some(after) => self.first.len() + after % self.then.len(),
            None => read,
        };
        if read < 4 * MAX_DISCARD {
            let before = buffer.filled().len();
            for byte in all.skip(at).take(buffer.remaining()) {
                buffer.put_slice(&[*byte]);
            }
            let more = buffer.filled().len() - before;
            self.seen.read.fetch_add(more, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.seen.written.lock().unwrap().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        *self.seen.dropped.lock().unwrap() = Some(Instant::now());
    }
}

/// How long the host held the socket of a client that asks for `path` and then
/// sends `then` for ever, and how many bytes it read.
async fn held(path: &str, then: Vec<u8>, code: u16) -> (Duration, usize) {
    let limits = Limits {
        max_discard: MAX_DISCARD as u64,
        ..Limits::default()
    };
    let gateway = gateway(routes(&Routes::default(), limits.clone(), Discard), limits);
    let seen = Arc::new(Seen::default());
    let began = Instant::now();
    let flood = Flood {
        first: request(path).into_bytes(),
        then,
        seen: Arc::clone(&seen),
    };
    connect(&gateway, flood).await;
    gateway.tasks.close();
    gateway.tasks.wait().await;
    let close = seen.written.lock().unwrap().clone();
    let mut parts = close.windows(4).filter(|part| part[0] == 0x88);
    assert!(parts.any(|part| part[2..] == code.to_be_bytes()));
    let dropped = seen.dropped.lock().unwrap().expect("it was dropped");
    (dropped - began, seen.read.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn so_many_frames_are_discarded_and_the_socket_is_held_to_the_end() {
    let frame = [&b"\x82\xfe\x03\xe8\0\0\0\0"[..], &[0; 1000]].concat();
    let (held, read) = held("/nowhere", frame, 4004).await;
    let limits = Limits::default();
    assert_eq!(held, limits.settle + limits.close_timeout);
    assert!(EXPECTED.contains(&read), "{read}");
}

#[tokio::test(start_paused = true)]
async fn so_many_bytes_without_framing_are_discarded_and_the_socket_is_held_to_the_end() {
    let (held, read) = held("/stream", vec![0xff; 1000], 1002).await;
    assert_eq!(held, Limits::default().close_timeout);
    assert!(EXPECTED.contains(&read), "{read}");
}
