//! Worker threads for policy calls that take long.
//!
//! An ordinary call takes microseconds and runs on the thread of its connection. To hand it to
//! another thread would cost as much again. A call that takes longer would block every other
//! connection of that thread, so it moves to a pool of worker threads, among which the kernel
//! shares out the cores. Calls of an offender, a policy that keeps using up its time limit, run in
//! a second pool at idle priority: they get only the cores that nobody else wants.

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

/// Worker threads for slow calls, and for offenders' calls at idle priority. They are started when
/// they are first needed.
#[derive(Default)]
pub(crate) struct CallThreads {
    slow: Pool,
    idle: Pool,
}

/// Thread pool: `None` if its threads could not be started.
#[derive(Default)]
struct Pool(OnceLock<Option<Runtime>>);

impl CallThreads {
    /// Runs a call of a policy with this grade: on the current thread while it is quick, then in a
    /// pool. Also returns the CPU time that the call used.
    ///
    /// Dropping the future ends the call: at once, unless a pool's thread is polling it at this
    /// moment. That thread ends the call after this poll.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        grade: Grade,
        mut call: Budgeted<T>,
    ) -> (Option<T>, Duration) {
        let pool = match grade {
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
                // An offender gets its limit in wall-clock time. It may get no core on which to
                // notice that the limit is up, so the caller's thread watches the clock.
                let ends_at = call.ends_at();
                let ended = timeout_at(ends_at, in_pool(self.idle(), call)).await;
                return ended.unwrap_or((None, Duration::ZERO));
            }
        };
        in_pool(pool, call).await
    }

    fn idle(&self) -> Option<&Handle> {
        self.idle.threads("policy-idle", set_idle_priority)
    }

    fn slow(&self) -> Option<&Handle> {
        self.slow.threads("policy-slow", || {})
    }
}

impl Pool {
    fn threads(&self, name: &str, prepare: fn()) -> Option<&Handle> {
        // A runtime with one thread belongs to a test, whose clock may be paused and which needs a
        // fixed order, or it has no other connections to block.
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return None;
        }
        let runtime = self.0.get_or_init(|| {
            start(name, prepare)
                .inspect_err(|error| {
                    tracing::warn!(
                        %error,
                        "cannot start threads for slow policy calls: they block other connections"
                    );
                })
                .ok()
        });
        runtime.as_ref().map(Runtime::handle)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which is forbidden on an async thread.
        if let Some(runtime) = self.0.take().flatten() {
            runtime.shutdown_background();
        }
    }
}

async fn in_pool<T: Send + 'static>(
    pool: Option<&Handle>,
    call: Budgeted<T>,
) -> (Option<T>, Duration) {
    let Some(pool) = pool else {
        let mut call = call;
        let value = (&mut call).await;
        return (value, call.had());
    };
    let lent = Lent(Arc::new(Mutex::new(Some(call))));
    let ran = on(pool, lent.run()).await;
    ran.unwrap_or((None, Duration::ZERO))
}

/// Call that a pool runs, and that its caller can take back by dropping this.
///
/// When the cores are busy, it can take the idle pool any time to get to a call. Until then the
/// call would keep its memory and its slot.
struct Lent<T>(Arc<Mutex<Option<Budgeted<T>>>>);

impl<T: Send + 'static> Lent<T> {
    /// The call's answer and the CPU time that it used; `None` if the caller took it back.
    fn run(&self) -> impl Future<Output = Option<(Option<T>, Duration)>> + Send + 'static {
        let call = Arc::clone(&self.0);
        poll_fn(move |context| {
            let mut lent = call.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(call) = &mut *lent else {
                return Poll::Ready(None);
            };
            let value = ready!(call.poll_unpin(context));
            Poll::Ready(Some((value, call.had())))
        })
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        // If a thread is polling the call at this moment, that thread drops it after the poll.
        let taken = match self.0.try_lock() {
            Ok(mut lent) => lent.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        };
        drop(taken);
    }
}

async fn on<T: Send + 'static>(pool: &Handle, call: impl Future<Output = T> + Send + 'static) -> T {
    let call = call.in_current_span().with_current_subscriber();
    match AbortOnDropHandle::new(pool.spawn(call)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            // A bug of the host: the connection that made the call has to handle it.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The pool ends with the engine, which every calling policy holds.
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

/// Sets this thread to idle priority: `SCHED_IDLE` of sched(7).
///
/// A high nice value is not enough: the kernel does not preempt such a thread at once when another
/// one wakes. Measured, a neighbour's p99 was five times as long.
#[cfg(target_os = "linux")]
fn set_idle_priority() {
    use thread_priority::{NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};
    let set = thread_priority::set_thread_priority_and_policy(
        thread_priority::thread_native_id(),
        ThreadPriority::Min,
        ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle),
    );
    if let Err(error) = set {
        tracing::warn!(
            %error,
            "cannot set idle priority: policies that keep timing out compete with all others"
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn set_idle_priority() {}

#[cfg(test)]
mod tests;
