//! What happened, in the order in which it happened.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use upstream::StreamEnd;

use super::item::Blob;
use super::output::Said;
use super::schedule::Act;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds from the start.
    pub at: u64,
    pub connection: usize,
    pub event: Event,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The connection was accepted, with a place or without one.
    GotPlace(bool),
    /// The host's end of the transport.
    Read(usize),
    ReadEnd,
    ReadFailed,
    Wrote(usize),
    WriteBlocked,
    WriteFailed,
    ShutDown,
    Dropped {
        /// Bytes that the host had not read.
        unread: usize,
    },
    /// The host said something whole.
    Said(Said),
    /// The first byte of a Close was written.
    CloseBegins,
    /// The client's end.
    Received(usize),
    Broke,
    Left,
    /// A policy.
    Asked(Stage, usize),
    Answered(Stage, usize, Act),
    /// Bytes of BINARY in all windows until now.
    Watched(u64),
    Expired,
    /// This connection was evicted.
    Evicted,
    /// This connection evicted another.
    Evicts,
    /// The client is about to come back with the token that this connection was
    /// told.
    Presents(Option<usize>),
    /// The connection took a stream over.
    Takes,
    /// The connection let go of its stream, which goes on.
    Parks,
    /// The host reads while its upstream or its client does not take what it is
    /// given.
    ReadsHeld,
    /// The Close begins while the stream is open, or a key is held.
    ClosesOpen,
    /// The upstream.
    Opening,
    Opened,
    OpenFailed,
    Took(Taken),
    Emitted(Said),
    /// It closed the stream.
    Closed(u16),
    Lost,
    /// It is to take everything, and then to say so.
    Completing,
    Completed,
    Sealing(StreamEnd),
    Sealed(u64),
    SealFailed,
    LinkDropped,
    /// The same of a stream whose client is away. It is told of the connection
    /// that it had last.
    Away(Gone),
    /// A panic that the schedule asked for.
    Panicked,
    /// All is over, and something that the host began to say is unfinished.
    Torn,
}

/// What happens to a stream whose client is away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    Emitted(Said),
    Closed,
    Lost,
    Sealing(StreamEnd),
    Sealed(u64),
    SealFailed,
    Panicked,
}

/// What an upstream was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    Binary(Blob),
    Text(Blob),
    Pause,
    Resume,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Connect,
    Handshake,
    /// The number that comes with it is the window's.
    Frames,
    Close,
}

/// Collects the events and the faults of one run.
pub struct Trace {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    faults: Vec<String>,
}

impl Trace {
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            inner: Mutex::default(),
        }
    }

    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    pub fn record(&self, connection: usize, event: Event) {
        let at = self.now();
        self.lock().entries.push(Entry {
            at,
            connection,
            event,
        });
    }

    /// An invariant is broken. Faults are collected, not panicked: a panic on
    /// the host's stack would be taken for one of the schedule's own.
    pub fn fault(&self, connection: usize, what: impl std::fmt::Display) {
        let at = self.now();
        self.lock()
            .faults
            .push(format!("connection {connection}, {at} ms: {what}"));
    }

    /// How many panics there were.
    pub fn panics(&self) -> u64 {
        let inner = self.lock();
        let panics = inner
            .entries
            .iter()
            .filter(|it| it.event == Event::Panicked);
        panics.count() as u64
    }

    pub fn take(&self) -> (Vec<Entry>, Vec<String>) {
        let mut inner = self.lock();
        (
            std::mem::take(&mut inner.entries),
            std::mem::take(&mut inner.faults),
        )
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
