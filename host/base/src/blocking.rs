//! Threads for what blocks: disks and names. Each kind of work has a pool of its own, so that a
//! disk that hangs keeps nobody from another disk, from a reload or from resolving a name.
//!
//! A worker thread of the runtime serves all connections, so it must never wait for a disk: not to
//! write, not to close a file, and not for a lock that is held meanwhile. [`Room::run`] does work in
//! a pool, and [`Kept`] lets go of a file in one.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::task::JoinHandle;

/// How long a thread stays that has nothing to do.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Reading configurations, and compiling policies.
pub static LOADING: Room = Room::new("load", 16);
/// Files of streams whose backends are away.
pub static HELD: Room = Room::new("hold", 128);
/// Resolving names. Each name is looked up once at a time.
pub static NAMES: Room = Room::new("names", 64);

/// Threads that write to one folder of recordings.
const RECORDINGS: usize = 128;
/// Openings that may wait for one disk. A disk that hangs must not gather more and more of them.
const MAX_OPENINGS: usize = 1024;

/// A pool of threads for one kind of work, started when it is needed.
pub struct Room {
    name: &'static str,
    threads: usize,
    openings: AtomicUsize,
    pool: OnceLock<Option<Runtime>>,
}

/// Too many openings wait for this disk already.
#[derive(Debug, thiserror::Error)]
#[error("{MAX_OPENINGS} streams wait for the disk already")]
pub struct Busy;

impl Room {
    const fn new(name: &'static str, threads: usize) -> Self {
        Self {
            name,
            threads,
            openings: AtomicUsize::new(0),
            pool: OnceLock::new(),
        }
    }

    /// The room of a folder of recordings. It is there for the rest of the process: a
    /// configuration names few folders.
    pub fn of_recordings(folder: &Path) -> &'static Self {
        static KNOWN: LazyLock<Mutex<HashMap<PathBuf, &'static Room>>> =
            LazyLock::new(Mutex::default);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = known.get(folder) {
            return room;
        }
        let room: &'static Self = Box::leak(Box::new(Self::new("record", RECORDINGS)));
        known.insert(folder.to_owned(), room);
        room
    }

    /// Runs work that blocks. What it logs is about the connection that it is done for.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let span = tracing::Span::current();
        self.spawn(move || span.in_scope(work))
    }

    /// The same for the beginning of a stream.
    ///
    /// # Errors
    /// [`Busy`], where a disk that hangs has gathered too many.
    pub fn open<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Busy> {
        let opening = Opening(self);
        if self.openings.fetch_add(1, Ordering::Relaxed) >= MAX_OPENINGS {
            return Err(Busy);
        }
        Ok(self.run(move || {
            let _opening = opening;
            work()
        }))
    }

    fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // A runtime that has one thread is of a test, whose clock may be paused and then waits for the
        // disk, or it is a pool.
        let alone = Handle::try_current()
            .ok()
            .filter(|current| current.runtime_flavor() == RuntimeFlavor::CurrentThread);
        match (alone, self.pool()) {
            (Some(alone), _) => alone.spawn_blocking(work),
            (None, Some(pool)) => pool.spawn_blocking(work),
            (None, None) => tokio::task::spawn_blocking(work),
        }
    }

    /// A runtime that only lends its threads for blocking, and is never driven. Where the machine
    /// does not give it, there is the pool of whoever asks.
    fn pool(&self) -> Option<&Runtime> {
        let build = || {
            let pool = Builder::new_current_thread()
                .thread_name(self.name)
                .max_blocking_threads(self.threads)
                .thread_keep_alive(KEEP_ALIVE)
                .build();
            pool.inspect_err(
                |error| tracing::error!(room = self.name, %error, "no pool of threads"),
            )
            .ok()
        };
        self.pool.get_or_init(build).as_ref()
    }
}

/// One opening that waits, or runs.
struct Opening(&'static Room);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.openings.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Something whose end blocks, such as a file. It may be shared, and its last owner lets it go in
/// its room.
pub struct Kept<T: Send + Sync + 'static> {
    room: &'static Room,
    /// Present until it is dropped.
    kept: Option<Arc<T>>,
}

impl<T: Send + Sync> Kept<T> {
    /// Keeps `kept`, until its end in this room.
    pub fn new(room: &'static Room, kept: T) -> Self {
        Self {
            room,
            kept: Some(Arc::new(kept)),
        }
    }
}

impl<T: Send + Sync> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self {
            room: self.room,
            kept: self.kept.clone(),
        }
    }
}

impl<T: Send + Sync> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.kept {
            Some(kept) => kept,
            // It is taken out by `drop` alone, after which nobody has it.
            None => unreachable!(),
        }
    }
}

impl<T: Send + Sync> Drop for Kept<T> {
    fn drop(&mut self) {
        let Some(last) = self.kept.take().and_then(Arc::into_inner) else {
            return;
        };
        // Only a thread of a runtime has others to keep waiting.
        if Handle::try_current().is_ok() {
            drop(self.room.run(move || drop(last)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_disk_that_hangs_gathers_no_more_openings_than_it_may() {
        static ROOM: Room = Room::new("test", 1);
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
