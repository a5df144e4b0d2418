//! The room in files that all held streams of an upstream have together.
//!
//! One stream's file is bounded by `hold_file`. When a backend is away, all of its streams are held
//! at once, so what they have in files together is bounded as well, by `hold_files`. It is counted
//! across reloads: streams that a former configuration holds still have their files.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use base::metrics;

/// The rooms that are in use, by the names of their upstreams.
static KNOWN: LazyLock<Mutex<HashMap<String, Weak<Room>>>> = LazyLock::new(Mutex::default);

/// How much of it is taken, in bytes.
pub(super) struct Room {
    upstream: String,
    taken: AtomicU64,
}

/// What one file takes of a room. It is given back when this is dropped.
pub(super) struct Lease {
    room: Arc<Room>,
    bytes: AtomicU64,
}

impl Room {
    /// That of an upstream.
    pub(super) fn of(upstream: &str) -> Arc<Self> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, room| room.strong_count() > 0);
        if let Some(room) = known.get(upstream).and_then(Weak::upgrade) {
            return room;
        }
        let room = Arc::new(Self {
            upstream: upstream.to_owned(),
            taken: AtomicU64::new(0),
        });
        known.insert(upstream.to_owned(), Arc::downgrade(&room));
        room
    }

    /// For a file that is empty yet.
    pub(super) fn lease(self: &Arc<Self>) -> Arc<Lease> {
        Arc::new(Lease {
            room: Arc::clone(self),
            bytes: AtomicU64::new(0),
        })
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        metrics::held_in_files(&self.upstream, -as_float(bytes));
    }
}

impl Lease {
    /// Takes more, where all files of the room then have `max` bytes at the most.
    pub(super) fn grow(&self, bytes: u64, max: u64) -> bool {
        let more = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= max);
        let taken = &self.room.taken;
        if taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_err()
        {
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        metrics::held_in_files(&self.room.upstream, as_float(bytes));
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match *self.bytes.get_mut() {
            0 => {}
            bytes => self.room.give_back(bytes),
        }
    }
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_an_upstream_have_one_bound_and_what_ends_gives_its_part_back() {
        let (one, other) = (Room::of("bound").lease(), Room::of("bound").lease());
        assert!(one.grow(60, 100));
        assert!(!other.grow(41, 100), "there are 40 left");
        assert!(other.grow(40, 100));
        assert!(!one.grow(1, 100));
        assert!(!one.grow(u64::MAX, u64::MAX), "it does not go round");
        drop(other);
        assert!(one.grow(40, 100));
        assert!(
            Room::of("another").lease().grow(100, 100),
            "it has its own room"
        );
        // A reload has made the bound smaller.
        assert!(!one.grow(1, 50));
    }

    #[test]
    fn what_is_taken_outlives_whoever_asked_first() {
        let lease = Room::of("outlives").lease();
        assert!(lease.grow(100, 100));
        assert!(!Room::of("outlives").lease().grow(1, 100));
        drop(lease);
        assert!(Room::of("outlives").lease().grow(100, 100));
    }
}
