//! The stall watchdog: finds worker threads that are stuck.
//!
//! A worker thread of the runtime runs one step of a task after another, each some microseconds
//! long. A step that waits for anything (a disk, a lock that somebody holds who waits for a disk)
//! stops every connection of that thread. [`watched`] notes when a step begins, and a thread that is
//! no worker looks whether one has lasted too long, counts it and logs it.

use std::cell::LazyCell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::poll_fn;

use base::metrics;

/// How often the watchdog looks, and how exact it is.
const LOOK: Duration = Duration::from_millis(50);
/// A step that lasts so long is a stall.
const STALL: Duration = Duration::from_millis(500);

/// Looks that the watchdog has made; 0 where there is no watchdog.
static LOOKS: AtomicU64 = AtomicU64::new(0);
static STEPS: Mutex<Vec<Weak<Step>>> = Mutex::new(Vec::new());

/// What a thread is doing.
#[derive(Default)]
struct Step {
    /// [`LOOKS`] when it began; 0 between steps.
    since: AtomicU64,
}

thread_local! {
    static STEP: LazyCell<Arc<Step>> = LazyCell::new(|| {
        let step = Arc::default();
        let mut steps = STEPS.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push(Arc::downgrade(&step));
        step
    });
}

/// A task whose steps are watched.
///
/// The task is in a box. An async function would hold it twice for its whole life, as its argument
/// and as what it polls: 2 KiB of each idle connection.
pub fn watched<F: Future>(task: F) -> impl Future<Output = F::Output> {
    let mut task = Box::pin(task);
    poll_fn(move |cx| {
        let _watched = Watched::begin();
        task.as_mut().poll(cx)
    })
}

/// A step of a task, to its end or its panic.
struct Watched {
    /// The step that this one is a part of.
    outer: u64,
}

impl Watched {
    fn begin() -> Self {
        let now = LOOKS.load(Ordering::Relaxed);
        let outer = STEP.with(|step| step.since.swap(now, Ordering::Relaxed));
        Self { outer }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        STEP.with(|step| step.since.store(self.outer, Ordering::Relaxed));
    }
}

/// Starts the watchdog.
///
/// # Errors
/// Where the machine does not give a thread.
pub fn start() -> io::Result<()> {
    let watch = || {
        let mut watchdog = Watchdog::default();
        loop {
            LOOKS.fetch_add(1, Ordering::Relaxed);
            watchdog.look(Instant::now(), &steps());
            std::thread::sleep(LOOK);
        }
    };
    let thread = std::thread::Builder::new().name("watchdog".to_owned());
    thread.spawn(watch).map(drop)
}

/// The threads that are there, with the look at which their step began.
fn steps() -> Vec<(usize, u64)> {
    let mut steps = STEPS.lock().unwrap_or_else(PoisonError::into_inner);
    steps.retain(|step| step.strong_count() > 0);
    let steps = steps.iter().filter_map(Weak::upgrade);
    steps
        .map(|step| {
            (
                Arc::as_ptr(&step).addr(),
                step.since.load(Ordering::Relaxed),
            )
        })
        .filter(|(_, since)| *since > 0)
        .collect()
}

/// What it has seen.
#[derive(Default)]
struct Watchdog {
    /// Steps that are under way: the thread, its look, and when that was first seen.
    under_way: Vec<UnderWay>,
    longest: Duration,
}

struct UnderWay {
    thread: usize,
    since: u64,
    seen: Instant,
    is_counted: bool,
}

impl Watchdog {
    /// Takes in what the threads are doing. Gives how many are newly stuck.
    fn look(&mut self, now: Instant, steps: &[(usize, u64)]) -> usize {
        self.under_way
            .retain(|known| steps.contains(&(known.thread, known.since)));
        let mut stalls = 0;
        for &(thread, since) in steps {
            let is_it = |known: &&mut UnderWay| known.thread == thread && known.since == since;
            let Some(known) = self.under_way.iter_mut().find(is_it) else {
                self.under_way.push(UnderWay {
                    thread,
                    since,
                    seen: now,
                    is_counted: false,
                });
                continue;
            };
            let lasted = now.saturating_duration_since(known.seen);
            if lasted < STALL {
                continue;
            }
            if !known.is_counted {
                known.is_counted = true;
                stalls += 1;
                metrics::worker_stalled();
                tracing::error!(
                    ?lasted,
                    "a worker thread is stuck: its connections stand still"
                );
            }
            if lasted > self.longest {
                self.longest = lasted;
                metrics::longest_stall(lasted);
            }
        }
        stalls
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_step_that_lasts_is_one_stall_and_many_short_ones_are_none() {
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        let mut stalls = 0;
        for look in 1..100 {
            let now = start + LOOK * look;
            // The first thread is stuck, the second begins a step with each look.
            stalls += watchdog.look(now, &[(1, 1), (2, u64::from(look))]);
        }
        assert_eq!(stalls, 1);
        assert_eq!(watchdog.longest, LOOK * 98);
        assert_eq!(watchdog.look(start, &[]), 0);
        assert!(watchdog.under_way.is_empty());
    }

    #[test]
    fn a_task_is_seen_in_its_step_and_not_after_it() {
        LOOKS.fetch_max(7, Ordering::Relaxed);
        let (begun, begins) = channel();
        let (release, stuck) = channel::<()>();
        let thread = std::thread::spawn(move || {
            futures_util::FutureExt::now_or_never(watched(async move {
                begun
                    .send(STEP.with(|step| Arc::as_ptr(step).addr()))
                    .unwrap();
                stuck.recv().unwrap_err();
            }));
            steps()
        });
        let address = begins.recv().unwrap();
        let is_in = |steps: &[(usize, u64)]| steps.iter().any(|(at, _)| *at == address);
        assert!(is_in(&steps()));
        drop(release);
        assert!(!is_in(&thread.join().unwrap()));
    }
}
