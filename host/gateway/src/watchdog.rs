//! The stall watchdog: finds worker threads that are stuck.
//!
//! A worker thread of the runtime runs one step of a task after another, each some microseconds
//! long. A step that waits for anything (a disk, a lock that somebody holds who waits for a disk)
//! stops every connection of that thread. [`watched`] notes when a step begins, and a thread that is
//! no worker looks whether one has lasted too long, counts it and logs it. The time that a thread
//! waits for a processor does not count: that is a busy machine, and no bug.

use std::cell::LazyCell;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::poll_fn;

use base::metrics;

mod scheduling;

use scheduling::{Scheduling, Thread};

/// How often the watchdog looks, and how exact it is.
const LOOK: Duration = Duration::from_millis(50);
/// A step that lasts so long is a stall.
const STALL: Duration = Duration::from_millis(500);

/// Looks that the watchdog has made; 0 where there is no watchdog.
static LOOKS: AtomicU64 = AtomicU64::new(0);
static STEPS: Mutex<Vec<Weak<Step>>> = Mutex::new(Vec::new());

/// What a thread is doing.
struct Step {
    thread: Thread,
    /// [`LOOKS`] when it began; 0 between steps.
    since: AtomicU64,
}

thread_local! {
    static STEP: LazyCell<Arc<Step>> = LazyCell::new(|| {
        let step = Arc::new(Step {
            thread: Thread::current(),
            since: AtomicU64::default(),
        });
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
            watchdog.look(Instant::now(), &steps(), Thread::scheduling);
            std::thread::sleep(LOOK);
        }
    };
    let thread = std::thread::Builder::new().name("watchdog".to_owned());
    thread.spawn(watch).map(drop)
}

/// The threads that are there, with the look at which their step began.
fn steps() -> Vec<(Thread, u64)> {
    let mut steps = STEPS.lock().unwrap_or_else(PoisonError::into_inner);
    steps.retain(|step| step.strong_count() > 0);
    let steps = steps.iter().filter_map(Weak::upgrade);
    steps
        .map(|step| (step.since.load(Ordering::Relaxed), step))
        .filter(|(since, _)| *since > 0)
        .map(|(since, step)| (step.thread.clone(), since))
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
    thread: Thread,
    since: u64,
    seen: Instant,
    /// What the thread had had by then.
    had: Option<Scheduling>,
    is_counted: bool,
}

impl Watchdog {
    /// Takes in what the threads are doing. Gives how many are newly stuck.
    fn look(
        &mut self,
        now: Instant,
        steps: &[(Thread, u64)],
        scheduling: impl Fn(&Thread) -> Option<Scheduling>,
    ) -> usize {
        let is_it = |known: &UnderWay, (thread, since): &(Thread, u64)| {
            known.thread == *thread && known.since == *since
        };
        self.under_way
            .retain(|known| steps.iter().any(|step| is_it(known, step)));
        let mut stalls = 0;
        for step in steps {
            let Some(known) = self.under_way.iter_mut().find(|known| is_it(known, step)) else {
                let (thread, since) = step.clone();
                self.under_way.push(UnderWay {
                    had: scheduling(&thread),
                    thread,
                    since,
                    seen: now,
                    is_counted: false,
                });
                continue;
            };
            let passed = now.saturating_duration_since(known.seen);
            if passed < STALL {
                continue;
            }
            let lasted = match (&known.had, scheduling(&known.thread)) {
                (Some(had), Some(has)) => has.own_time(had, passed),
                _ => passed,
            };
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
        let [first, second] = [1, 2].map(Thread::numbered);
        for look in 1..100 {
            let now = start + LOOK * look;
            // The first thread is stuck, the second begins a step with each look.
            let steps = [(first.clone(), 1), (second.clone(), u64::from(look))];
            stalls += watchdog.look(now, &steps, |_| None);
        }
        assert_eq!(stalls, 1);
        assert_eq!(watchdog.longest, LOOK * 98);
        assert_eq!(watchdog.look(start, &[], |_| None), 0);
        assert!(watchdog.under_way.is_empty());
    }

    #[test]
    fn a_step_whose_thread_has_no_processor_is_no_stall() {
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        let steps = [(Thread::numbered(1), 1)];
        let queued = |_: &Thread| Some(Scheduling::queued_for(Duration::ZERO));
        watchdog.look(start, &steps, queued);
        let later = |_: &Thread| Some(Scheduling::queued_for(STALL));
        assert_eq!(watchdog.look(start + STALL + LOOK, &steps, later), 0);
        assert_eq!(watchdog.look(start + 2 * STALL, &steps, later), 1);
    }

    #[test]
    fn a_task_is_seen_in_its_step_and_not_after_it() {
        LOOKS.fetch_max(7, Ordering::Relaxed);
        let (begun, begins) = channel();
        let (release, stuck) = channel::<()>();
        let thread = std::thread::spawn(move || {
            futures_util::FutureExt::now_or_never(watched(async move {
                begun.send(STEP.with(|step| step.thread.clone())).unwrap();
                stuck.recv().unwrap_err();
            }));
            steps()
        });
        let thread_of_it = begins.recv().unwrap();
        let is_in = |steps: &[(Thread, u64)]| steps.iter().any(|(at, _)| *at == thread_of_it);
        assert!(is_in(&steps()));
        drop(release);
        assert!(!is_in(&thread.join().unwrap()));
    }
}
