//! The slow lanes: where calls go on that take long.
//!
//! A call that is as it should be takes microseconds, and is made on the thread of the connection that it is about: to hand
//! it to another would cost as much again. One that takes longer would keep every other connection of that thread waiting, so it
//! goes on in a lane of its own, where the kernel shares the cores out. A policy whose calls do nothing else but
//! use up cores gets those that nobody else wants.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};
use std::task::{Poll, ready};
use std::thread::available_parallelism;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;
use tracing::instrument::WithSubscriber as _;

use super::budget::Budgeted;
use super::pace::{Grade, QUICK};

/// See the module. Their threads are started when they are first needed.
#[derive(Default)]
pub struct Lanes {
    slow: Lane,
    idle: Lane,
}

#[derive(Default)]
struct Lane(OnceLock<Option<Runtime>>);

impl Lanes {
    /// Makes a call of a policy with this grade: here, as far as it is quick, and the rest in a lane. Tells what it had of a
    /// core, too.
    ///
    /// Dropped, it ends the call: at once, unless a thread of a lane has it at this moment. That thread ends it at its next turn.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        grade: Grade,
        mut call: Budgeted<T>,
    ) -> (Option<T>, Duration) {
        let lane = match grade {
            Grade::Quick => {
                let quick = poll_fn(|context| match call.poll_unpin(context) {
                    Poll::Ready(done) => Poll::Ready(Some(done)),
                    Poll::Pending if call.had() < QUICK => Poll::Pending,
                    Poll::Pending => Poll::Ready(None),
                });
                if let Some(done) = quick.await {
                    return (done, call.had());
                }
                self.slow()
            }
            Grade::Slow => {
                call = call.exactly();
                self.slow()
            }
            Grade::Offender => {
                // Its time is what the clock says, and there may be no core for it to notice on that this is up.
                let ends_at = call.ends_at();
                let ended = timeout_at(ends_at, in_lane(self.idle(), call)).await;
                return ended.unwrap_or((None, Duration::ZERO));
            }
        };
        in_lane(lane, call).await
    }

    fn idle(&self) -> Option<&Handle> {
        self.idle.threads("idle-lane", stand_back)
    }

    fn slow(&self) -> Option<&Handle> {
        self.slow.threads("slow-lane", || {})
    }
}

impl Lane {
    fn threads(&self, name: &str, prepare: fn()) -> Option<&Handle> {
        // A runtime that has one thread is of a test, whose clock may be paused and to which order matters, or it has nobody to
        // keep waiting.
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return None;
        }
        let runtime = self.0.get_or_init(|| {
            start(name, prepare)
                .inspect_err(|error| {
                    tracing::warn!(%error, "no threads for the calls of policies that take long: others wait for them");
                })
                .ok()
        });
        runtime.as_ref().map(Runtime::handle)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // To wait for its threads, as the drop of a runtime does, is forbidden on an async thread.
        if let Some(runtime) = self.0.take().flatten() {
            runtime.shutdown_background();
        }
    }
}

async fn in_lane<T: Send + 'static>(
    lane: Option<&Handle>,
    call: Budgeted<T>,
) -> (Option<T>, Duration) {
    let Some(lane) = lane else {
        let mut call = call;
        let value = (&mut call).await;
        return (value, call.had());
    };
    let lent = Lent(Arc::new(Mutex::new(Some(call))));
    let ran = on(lane, lent.run()).await;
    ran.unwrap_or((None, Duration::ZERO))
}

/// A call that a lane makes, and that whoever waits for it can take away again: where the cores are busy, a thread of the idle
/// lane may not come to it for as long as it likes, and the call would keep its memory and its slot meanwhile.
struct Lent<T>(Arc<Mutex<Option<Budgeted<T>>>>);

impl<T: Send + 'static> Lent<T> {
    /// Makes the call: its answer, and what it had of a core. `None` where it was taken away.
    fn run(&self) -> impl Future<Output = Option<(Option<T>, Duration)>> + Send + 'static {
        let call = Arc::clone(&self.0);
        poll_fn(move |context| {
            let mut place = call.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(call) = &mut *place else {
                return Poll::Ready(None);
            };
            let value = ready!(call.poll_unpin(context));
            Poll::Ready(Some((value, call.had())))
        })
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        // Whoever has it at this moment drops it when it has finished its turn.
        let taken = match self.0.try_lock() {
            Ok(mut place) => place.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        };
        drop(taken);
    }
}

async fn on<T: Send + 'static>(lane: &Handle, call: impl Future<Output = T> + Send + 'static) -> T {
    let call = call.in_current_span().with_current_subscriber();
    match AbortOnDropHandle::new(lane.spawn(call)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            // A bug of the host's, which is for the connection to answer.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The lane ends with the engine, and the policies that call it hold that.
            Err(_) => std::future::pending().await,
        },
    }
}

fn start(name: &str, prepare: fn()) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(available_parallelism().map_or(1, usize::from))
        .thread_name(name)
        .on_thread_start(prepare)
        .enable_time()
        .build()
}

/// Has the kernel run this thread when no other wants the core: `SCHED_IDLE` of sched(7). A thread that is only nice is not
/// interrupted at once when one that is less so wakes: measured, a neighbour's p99 was five times as long.
#[cfg(target_os = "linux")]
fn stand_back() {
    use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
    let stood = thread_priority::set_thread_priority_and_policy(
        thread_priority::thread_native_id(),
        ThreadPriority::Min,
        ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle),
    );
    if let Err(error) = stood {
        tracing::warn!(%error, "policies that only use up time have as much of the cores as the others");
    }
}

#[cfg(not(target_os = "linux"))]
fn stand_back() {}

#[cfg(test)]
mod tests;
