//! Thread pools for blocking work: disk access and name resolution. Each kind of work has its own
//! pool, so a disk that hangs delays neither another disk, nor a reload, nor resolving a name.
//!
//! A worker thread of the runtime serves all connections, so it must never wait for a disk. It must
//! not write, close a file, or wait for a lock that is held during either. [`BlockingPool::run`] does such
//! work in a pool, and [`Kept`] closes a file in one.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use scopeguard::ScopeGuard;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::JoinHandle;

/// Time after which an idle thread ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Pool that reads configurations and compiles policies.
pub static LOADING: BlockingPool = BlockingPool::new("load", 16);
/// Pool for the files of streams whose backends are away.
pub static HELD: BlockingPool = BlockingPool::new("hold", 128);
/// Pool that resolves names. Each name is looked up once at a time.
pub static NAMES: BlockingPool = BlockingPool::new("names", 64);

/// Maximum number of threads that write to one folder of recordings.
const RECORDINGS: usize = 128;
/// Maximum number of openings that wait for one disk, so that a disk that hangs does not gather
/// more and more of them.
const MAX_OPENINGS: usize = 1024;

/// A pool of threads for one kind of work, started when it is needed.
pub struct BlockingPool {
    name: &'static str,
    threads: usize,
    openings: AtomicUsize,
    pool: OnceLock<Option<Runtime>>,
}

/// Error: too many openings wait for this disk already.
#[derive(Debug, thiserror::Error)]
#[error("{MAX_OPENINGS} streams wait for the disk already")]
pub struct Busy;

impl BlockingPool {
    const fn new(name: &'static str, threads: usize) -> Self {
        Self {
            name,
            threads,
            openings: AtomicUsize::new(0),
            pool: OnceLock::new(),
        }
    }

    /// Pool of a folder of recordings. It lives as long as the process, because a configuration
    /// names few folders.
    pub fn of_recordings(folder: &Path) -> &'static Self {
        static KNOWN: LazyLock<Mutex<HashMap<PathBuf, &'static BlockingPool>>> =
            LazyLock::new(Mutex::default);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = known.get(folder) {
            return pool;
        }
        let pool: &'static Self = Box::leak(Box::new(Self::new("record", RECORDINGS)));
        known.insert(folder.to_owned(), pool);
        pool
    }

    /// Runs blocking work in the pool. Its log lines belong to the connection that asked for it.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let span = tracing::Span::current();
        self.spawn(move || span.in_scope(work))
    }

    /// Runs blocking work at the beginning of a stream.
    ///
    /// # Errors
    /// [`Busy`] if too many openings wait for this disk already.
    pub fn open<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Busy> {
        let opening = PendingOpening(self);
        if self.openings.fetch_add(1, Ordering::Relaxed) >= MAX_OPENINGS {
            return Err(Busy);
        }
        Ok(self.run(move || {
            let _opening = opening;
            work()
        }))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // Here the caller's own pool does the work. A runtime with one thread belongs to a test,
        // whose paused clock then waits for the disk, or it is one of these pools.
        let alone = Handle::try_current()
            .ok()
            .filter(|current| current.runtime_flavor() == RuntimeFlavor::CurrentThread);
        match (alone, self.pool()) {
            (Some(alone), _) => alone.spawn_blocking(work),
            (None, Some(pool)) => pool.spawn_blocking(work),
            (None, None) => tokio::task::spawn_blocking(work),
        }
    }

    /// Runtime that lends its threads for blocking work and is never driven. `None` if the machine
    /// refuses its threads; the caller's own pool does the work then.
    fn pool(&self) -> Option<&Runtime> {
        let build = || {
            let pool = Builder::new_current_thread()
                .thread_name(self.name)
                .max_blocking_threads(self.threads)
                .thread_keep_alive(KEEP_ALIVE)
                .build();
            pool.inspect_err(
                |error| tracing::error!(pool = self.name, %error, "no pool of threads"),
            )
            .ok()
        };
        self.pool.get_or_init(build).as_ref()
    }
}

/// An opening that waits or runs.
struct PendingOpening(&'static BlockingPool);

impl Drop for PendingOpening {
    fn drop(&mut self) {
        self.0.openings.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A value whose drop blocks, such as a file. It can be shared; the pool drops it after its last
/// owner is gone.
pub struct Kept<T: Send + Sync + 'static>(ScopeGuard<Owned<T>, fn(Owned<T>)>);

/// One owner's share of a value, and the pool that is to drop the value.
struct Owned<T: 'static> {
    pool: &'static BlockingPool,
    value: Arc<T>,
}

impl<T: Send + Sync> Kept<T> {
    /// Wraps a value that `pool` is to drop.
    pub fn new(pool: &'static BlockingPool, value: T) -> Self {
        Self::of(Owned {
            pool,
            value: Arc::new(value),
        })
    }

    fn of(owned: Owned<T>) -> Self {
        Self(scopeguard::guard(owned, Owned::release))
    }
}

impl<T: Send + Sync> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self::of(Owned {
            pool: self.0.pool,
            value: Arc::clone(&self.0.value),
        })
    }
}

impl<T: Send + Sync> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Send + Sync> Owned<T> {
    /// Drops the value, if this is its last owner, without blocking a thread of a runtime.
    fn release(self) {
        let Some(last) = Arc::into_inner(self.value) else {
            return;
        };
        // Only a thread of a runtime has other tasks to hold up.
        if Handle::try_current().is_ok() {
            drop(self.pool.run(move || drop(last)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_disk_that_hangs_gathers_no_more_openings_than_it_may() {
        static ROOM: BlockingPool = BlockingPool::new("test", 1);
        let (release, stalled) = channel::<()>();
        let stalled = Arc::new(Mutex::new(stalled));
        let mut waiting = Vec::new();
        let refused = loop {
            let stalled = Arc::clone(&stalled);
            match ROOM.open(move || stalled.lock().unwrap().recv().is_err()) {
                Ok(opening) => waiting.push(opening),
                Err(busy) => break busy,
            }
        };
        assert_eq!(waiting.len(), MAX_OPENINGS, "{refused}");
        drop(release);
        for opening in waiting {
            opening.await.unwrap();
        }
        ROOM.open(|| {})
            .expect("there is room again")
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn only_the_last_owner_lets_go_and_never_on_its_own_thread() {
        struct Ends(tokio::sync::mpsc::UnboundedSender<std::thread::ThreadId>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.send(std::thread::current().id()).unwrap();
            }
        }
        let (ends, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let first = Kept::new(&LOADING, Ends(ends));
        let second = first.clone();
        drop(first);
        assert!(ended.try_recv().is_err());
        drop(second);
        assert_ne!(ended.recv().await.unwrap(), std::thread::current().id());
    }
}
