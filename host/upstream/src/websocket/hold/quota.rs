//! Quota of file space that all held streams of an upstream share.
//!
//! `hold_file` limits the file of one stream. If a backend is away, all of its streams are held at
//! once, so `hold_files` limits all of their files together. The quota survives reloads, because
//! streams of an earlier configuration still have their files.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use base::metrics;

/// Quotas in use, by the names of their upstreams.
static KNOWN: LazyLock<Mutex<HashMap<String, Weak<FileQuota>>>> = LazyLock::new(Mutex::default);

/// Quota of one upstream, with the number of bytes in use.
pub(super) struct FileQuota {
    upstream: String,
    taken: AtomicU64,
}

/// Share of one file. Dropping it returns the share.
pub(super) struct Lease {
    quota: Arc<FileQuota>,
    bytes: AtomicU64,
}

impl FileQuota {
    /// Quota of an upstream.
    pub(super) fn of(upstream: &str) -> Arc<Self> {
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, quota| quota.strong_count() > 0);
        if let Some(quota) = known.get(upstream).and_then(Weak::upgrade) {
            return quota;
        }
        let quota = Arc::new(Self {
            upstream: upstream.to_owned(),
            taken: AtomicU64::new(0),
        });
        known.insert(upstream.to_owned(), Arc::downgrade(&quota));
        quota
    }

    /// Share of an empty file.
    pub(super) fn lease(self: &Arc<Self>) -> Arc<Lease> {
        Arc::new(Lease {
            quota: Arc::clone(self),
            bytes: AtomicU64::new(0),
        })
    }

    /// Number of bytes in use.
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
    /// Adds bytes to the share. Fails if all files of the quota would exceed `max` bytes.
    pub(super) fn grow(&self, bytes: u64, max: u64) -> bool {
        let more = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= max);
        let taken = &self.quota.taken;
        if taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_err()
        {
            return false;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        metrics::held_in_files(&self.quota.upstream, as_float(bytes));
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match *self.bytes.get_mut() {
            0 => {}
            bytes => self.quota.give_back(bytes),
        }
    }
}

/// The number as a float, exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_an_upstream_have_one_bound_and_what_ends_gives_its_part_back() {
        let (one, other) = (
            FileQuota::of("bound").lease(),
            FileQuota::of("bound").lease(),
        );
        assert!(one.grow(60, 100));
        assert!(!other.grow(41, 100), "there are 40 left");
        assert!(other.grow(40, 100));
        assert!(!one.grow(1, 100));
        assert!(!one.grow(u64::MAX, u64::MAX), "it does not go round");
        drop(other);
        assert!(one.grow(40, 100));
        assert!(
            FileQuota::of("another").lease().grow(100, 100),
            "it has its own quota"
        );
        // A reload has lowered the limit.
        assert!(!one.grow(1, 50));
    }

    #[test]
    fn what_is_taken_outlives_whoever_asked_first() {
        let lease = FileQuota::of("outlives").lease();
        assert!(lease.grow(100, 100));
        assert!(!FileQuota::of("outlives").lease().grow(1, 100));
        drop(lease);
        assert!(FileQuota::of("outlives").lease().grow(100, 100));
    }
}
