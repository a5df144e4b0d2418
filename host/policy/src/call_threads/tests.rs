use std::sync::Arc;
use std::thread;

use tokio::sync::Notify;
use tokio::task::yield_now;

use super::*;
use crate::budget::thread_time;

const LIMIT: Duration = Duration::from_secs(60);

/// Has the core for longer than a quick call may, however often its thread is preempted.
fn work() {
    let end = thread_time() + 4 * QUICK;
    while thread_time() < end {
        std::hint::spin_loop();
    }
}

/// Name of the pool that this thread belongs to.
fn pool() -> Option<String> {
    let thread = thread::current();
    let name = thread.name().filter(|name| name.starts_with("policy-"));
    name.map(str::to_owned)
}

async fn run<T: Send + 'static>(
    threads: &CallThreads,
    grade: Grade,
    call: impl Future<Output = T> + Send + 'static,
) -> T {
    let call = Budgeted::new(LIMIT, call.boxed());
    threads.run(grade, call).await.0.unwrap()
}

/// Where a call begins, and where it goes on after it kept its thread for long.
async fn long() -> [Option<String>; 2] {
    let begins = pool();
    work();
    yield_now().await;
    [begins, pool()]
}

fn named(pools: [Option<&str>; 2]) -> [Option<String>; 2] {
    pools.map(|pool| pool.map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_that_takes_long_goes_on_in_the_slow_pool() {
    let went = run(&CallThreads::default(), Grade::Quick, long()).await;
    assert_eq!(went, named([None, Some("policy-slow")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_of_a_slow_policy_and_of_an_offender_begin_in_a_pool() {
    for (grade, pool) in [
        (Grade::Slow, "policy-slow"),
        (Grade::Offender, "policy-idle"),
    ] {
        let went = run(&CallThreads::default(), grade, long()).await;
        assert_eq!(went, named([Some(pool), Some(pool)]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_waits_for_the_host_stays_where_he_is() {
    let call = async {
        yield_now().await;
        pool()
    };
    assert_eq!(run(&CallThreads::default(), Grade::Quick, call).await, None);
}

#[tokio::test]
async fn a_runtime_of_one_thread_keeps_its_calls() {
    let went = run(&CallThreads::default(), Grade::Slow, long()).await;
    assert_eq!(went, named([None, None]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_call_had_of_a_core_is_told_wherever_it_was() {
    for grade in [Grade::Quick, Grade::Slow] {
        let call = Budgeted::new(LIMIT, long().boxed());
        let (_, had) = CallThreads::default().run(grade, call).await;
        assert!(had >= QUICK, "{grade:?}: {had:?}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_kernel_runs_an_offender_when_nobody_else_wants_the_core() {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy,
    };
    let call = async { thread_schedule_policy() };
    let policy = run(&CallThreads::default(), Grade::Offender, call)
        .await
        .unwrap();
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    assert_eq!(policy, idle);
}

#[tokio::test(start_paused = true)]
async fn an_offender_is_out_of_time_at_once() {
    let limit = Duration::from_millis(50);
    let call = async move {
        tokio::time::advance(limit * 2).await;
        yield_now().await;
    };
    let call = Budgeted::new(limit, call.boxed());
    let done = CallThreads::default().run(Grade::Offender, call).await.0;
    assert_eq!(done, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_offender_that_gets_no_core_is_out_of_time_all_the_same() {
    let (core, no_core) = std::sync::mpsc::channel::<()>();
    let call = async move { no_core.recv() };
    let call = Budgeted::new(Duration::from_millis(1), call.boxed());
    assert!(
        CallThreads::default()
            .run(Grade::Offender, call)
            .await
            .0
            .is_none()
    );
    drop(core);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_panic_in_a_pool_is_the_callers() {
    let caller = tokio::spawn(async {
        let call = async { panic!("a bug") };
        run::<()>(&CallThreads::default(), Grade::Slow, call).await;
    });
    let panic = caller.await.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref(), Some(&"a bug"));
}

/// Tells when it is dropped.
struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_that_nobody_waits_for_any_more_ends() {
    let (there, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let caller = tokio::spawn({
        let (there, gone) = (Arc::clone(&there), Gone(Arc::clone(&gone)));
        async move {
            let call = async move {
                let _gone = gone;
                long().await;
                there.notify_one();
                std::future::pending::<()>().await;
            };
            run(&CallThreads::default(), Grade::Quick, call).await;
        }
    });
    there.notified().await;
    caller.abort();
    gone.notified().await;
}
