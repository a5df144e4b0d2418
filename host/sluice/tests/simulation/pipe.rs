//! A byte stream between a host and a client, with the manners of TCP: bounded
//! in both directions, closed by half or whole, and reset.
//!
//! What matters most is modelled after the kernel: a host that lets go of a
//! connection while there is input that it has not read, or before the client
//! has ceased to send, destroys what the client has not read yet.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::schedule::PipePlan;
use super::trace::Event;
use super::world::World;

/// The end that is given to the gateway.
pub struct HostEnd(Shared);

/// The end that the scripted client holds.
pub struct ClientEnd(Shared);

#[derive(Clone)]
struct Shared {
    world: Arc<World>,
    me: usize,
    state: Arc<Mutex<PipeState>>,
}

struct PipeState {
    plan: PipePlan,
    rng: fastrand::Rng,
    up: Flow,
    down: Flow,
    reset: bool,
    host_gone: bool,
    client_gone: bool,
}

#[derive(Default)]
struct Flow {
    bytes: VecDeque<u8>,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Flow {
    fn take(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.bytes.len());
        wake(&mut self.writer);
        self.bytes.drain(..count).collect()
    }

    fn put(&mut self, bytes: &[u8], capacity: usize) -> usize {
        let count = bytes.len().min(capacity - self.bytes.len());
        self.bytes.extend(&bytes[..count]);
        wake(&mut self.reader);
        count
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl PipeState {
    fn wake_all(&mut self) {
        for flow in [&mut self.up, &mut self.down] {
            wake(&mut flow.reader);
            wake(&mut flow.writer);
        }
    }

    fn reset(&mut self) {
        self.reset = true;
        self.up.bytes.clear();
        self.down.bytes.clear();
        self.wake_all();
    }

    fn stutters(&mut self, cx: &mut Context<'_>) -> bool {
        let stutters = self.plan.stutter > 0 && self.rng.u32(..self.plan.stutter) == 0;
        if stutters {
            cx.waker().wake_by_ref();
        }
        stutters
    }
}

pub fn pipe(world: &Arc<World>, me: usize) -> (HostEnd, ClientEnd) {
    let schedule = &world.schedule;
    let state = PipeState {
        plan: schedule.connections[me].pipe,
        rng: fastrand::Rng::with_seed(schedule.seed ^ (me as u64 + 1)),
        up: Flow::default(),
        down: Flow::default(),
        reset: false,
        host_gone: false,
        client_gone: false,
    };
    let shared = Shared {
        world: Arc::clone(world),
        me,
        state: Arc::new(Mutex::new(state)),
    };
    (HostEnd(shared.clone()), ClientEnd(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, PipeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, event: Event) {
        self.world.trace.record(self.me, event);
    }
}

impl AsyncRead for HostEnd {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let shared = &self.0;
        let mut state = shared.lock();
        if state.reset {
            shared.record(Event::ReadFailed);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.stutters(cx) {
            return Poll::Pending;
        }
        if !state.up.bytes.is_empty() {
            // Not so small that a large message takes thousands of reads.
            let piece = state.plan.read.max(state.up.bytes.len() / 64);
            let most = piece.min(buffer.remaining());
            let taken = state.up.take(most);
            buffer.put_slice(&taken);
            shared.record(Event::Read(taken.len()));
            drop(state);
            shared.world.has_read(shared.me);
        } else if state.up.ended || state.client_gone {
            shared.record(Event::ReadEnd);
        } else {
            state.up.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HostEnd {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let shared = &self.0;
        let mut state = shared.lock();
        if state.reset || state.client_gone || state.down.ended {
            shared.record(Event::WriteFailed);
            drop(state);
            shared.world.cannot_write(shared.me);
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.stutters(cx) {
            return Poll::Pending;
        }
        let piece = state.plan.write.max(bytes.len() / 64);
        let some = &bytes[..bytes.len().min(piece)];
        let capacity = state.plan.down;
        let count = state.down.put(some, capacity);
        if count == 0 {
            state.down.writer = Some(cx.waker().clone());
            shared.record(Event::WriteBlocked);
            return Poll::Pending;
        }
        drop(state);
        shared.record(Event::Wrote(count));
        shared.world.has_written(shared.me, &bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock();
        if !state.down.ended {
            self.0.record(Event::ShutDown);
        }
        state.down.ended = true;
        wake(&mut state.down.reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for HostEnd {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let unread = state.up.bytes.len();
        self.0.record(Event::Dropped { unread });
        state.host_gone = true;
        if unread > 0 {
            state.reset();
        }
        state.down.ended = true;
        state.wake_all();
    }
}

impl ClientEnd {
    /// Writes some of the bytes, once there is room.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.host_gone {
                // What is sent to nobody is answered with a reset.
                state.reset();
            }
            if state.reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let capacity = state.plan.up;
            match state.up.put(bytes, capacity) {
                0 => {
                    state.up.writer = Some(cx.waker().clone());
                    Poll::Pending
                }
                count => Poll::Ready(Ok(count)),
            }
        })
        .await
    }

    /// Reads some bytes; none at the end.
    pub async fn read(&self, most: usize) -> io::Result<Vec<u8>> {
        let read = std::future::poll_fn(|cx| {
            let mut state = self.0.lock();
            if state.reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let taken = state.down.take(most);
            if taken.is_empty() && !state.down.ended {
                state.down.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(Ok(taken))
        })
        .await;
        match &read {
            Ok(taken) => self.0.record(Event::Received(taken.len())),
            Err(_) => self.0.record(Event::Broke),
        }
        read
    }

    pub fn half_close(&self) {
        let mut state = self.0.lock();
        state.up.ended = true;
        wake(&mut state.up.reader);
    }

    pub fn reset(&self) {
        self.0.lock().reset();
    }
}

impl Drop for ClientEnd {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        self.0.record(Event::Left);
        state.client_gone = true;
        if !state.down.bytes.is_empty() {
            state.reset();
        }
        state.wake_all();
    }
}
