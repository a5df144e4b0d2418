//! What a history and its gateways say to each other: one line of JSON each.

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Time, in nanoseconds of the machine's monotonic clock, which all processes share.
pub type Nanos = u64;

/// Current time.
pub fn now() -> Nanos {
    let now = clock_gettime(ClockId::Monotonic);
    let [seconds, nanos] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap());
    seconds * 1_000_000_000 + nanos
}

/// How a session gets a key that another session holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manner {
    /// Not at all: it waits for its end.
    Waits,
    /// It evicts the holder.
    Evicts,
}

/// Order to a gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Order {
    /// A session claims a key, again and again until it has it or this time is over.
    Claim {
        session: String,
        key: String,
        manner: Manner,
        patience_ms: u64,
    },
    /// A session ends.
    Release { session: String },
    /// The client of the stream is here now. The first generation begins it.
    Stream { generation: u32, subject: String },
    /// The client ends its stream.
    Finish { generation: u32 },
}

/// Whether a session that was evicted has ended before its key was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waited {
    /// It has ended, or its gateway cannot be reached.
    Ended,
    /// It took too long.
    Long,
}

/// What happened at a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// The gateway counts on its lease until then.
    Term {
        incarnation: u64,
        since: Nanos,
        until: Nanos,
    },
    /// It knows that its lease has ended.
    NoTerm,
    /// A session is about to evict another one.
    Evicting {
        session: String,
        key: String,
        over: String,
    },
    /// A session has a key from now on.
    Granted {
        session: String,
        key: String,
        /// Time when it first asked.
        began: Nanos,
        waited: Waited,
    },
    /// A session has given up.
    Refused {
        session: String,
        key: String,
        why: String,
    },
    /// A session was told that it has lost a key.
    Told { session: String },
    /// A session ends now, and uses its key no longer.
    Ended { session: String },
    /// The stream is here, from this byte on.
    Taken { generation: u32, from: u64 },
    /// The stream has this many bytes, the client is told.
    Acked { generation: u32, bytes: u64 },
    /// The stream is not here any more, or never was.
    Over { generation: u32, why: String },
    /// The stream has ended.
    Finished { generation: u32, bytes: u64 },
}

/// What happened at a gateway, and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    pub at: Nanos,
    pub what: What,
}

/// Bytes of a stream as the client sends them in a generation. They differ in each, at every place.
pub fn audio(generation: u32, from: u64, size: usize) -> Vec<u8> {
    let place = |place: u64| (place ^ (place >> 8)).to_le_bytes()[0];
    let mark = generation.wrapping_mul(37).to_le_bytes()[0];
    let places = (from..).take(size);
    places.map(|it| place(it).wrapping_add(mark)).collect()
}
