use tokio::time::advance;

use super::*;

const ANSWERED: &Verdict = &Verdict::Accept;
const LATE: &Verdict = &Verdict::Failed(Failure::Limit(Limit::Time(Duration::ZERO)));

fn trapped() -> Verdict {
    Verdict::Failed(Failure::Trap("unreachable".to_owned()))
}

fn client(number: u8) -> impl FnOnce() -> Option<Client> {
    move || Some(Client::numbered(number))
}

/// Long calls in a row that make a policy slow.
const LONG_CALLS: u32 = SLOW_FROM / LONG_CALL;

#[test]
fn a_policy_is_slow_while_most_of_its_calls_are_long() {
    let pace = Pace::of("p".into());
    for _ in 0..LONG_CALLS {
        assert_eq!(pace.grade(client(0)), Grade::Quick);
        pace.learn(client(0), QUICK, ANSWERED);
    }
    for _ in 0..1000 {
        pace.learn(client(0), QUICK, ANSWERED);
        assert_eq!(pace.grade(client(0)), Grade::Slow);
    }
    for _ in 0..MOST_SLOW {
        assert_eq!(pace.grade(client(0)), Grade::Slow);
        pace.learn(client(0), QUICK / 2, ANSWERED);
    }
    assert_eq!(pace.grade(client(0)), Grade::Quick);
}

#[tokio::test(start_paused = true)]
async fn one_call_that_was_certainly_long_makes_a_policy_slow_for_a_while() {
    let pace = Pace::of("p".into());
    pace.learn(client(0), CERTAINLY_LONG, ANSWERED);
    pace.learn(client(0), QUICK / 2, ANSWERED);
    assert_eq!(pace.grade(client(0)), Grade::Slow);
    advance(LASTS).await;
    pace.learn(client(0), QUICK / 2, ANSWERED);
    assert_eq!(pace.grade(client(0)), Grade::Quick);
}

/// A thread that is preempted in its first poll is charged for up to two ticks, and its
/// neighbours on the same core with it, so late calls come in groups.
#[test]
fn an_ordinary_policy_keeps_the_fast_path_however_often_its_threads_are_preempted() {
    let pace = Pace::of("p".into());
    let mut random = fastrand::Rng::with_seed(0x51ce);
    let mut late = 0;
    while late < 2000 {
        for _ in 0..random.u32(50..200) {
            pace.learn(client(0), QUICK / 10, ANSWERED);
            assert_eq!(pace.grade(client(0)), Grade::Quick);
        }
        for _ in 0..random.u32(1..LONG_CALLS) {
            late += 1;
            pace.learn(client(0), random_late(&mut random), ANSWERED);
            assert_eq!(
                pace.grade(client(0)),
                Grade::Quick,
                "after {late} late calls"
            );
        }
    }
}

fn random_late(random: &mut fastrand::Rng) -> Duration {
    let most = u64::try_from((2 * TICK).as_micros()).unwrap();
    Duration::from_micros(random.u64(300..=most))
}

#[test]
fn a_policy_that_loops_loses_the_fast_path_with_its_first_call() {
    let pace = Pace::of("p".into());
    for _ in 0..100_000 {
        pace.learn(client(0), QUICK / 10, ANSWERED);
    }
    pace.learn(client(0), TOO_MUCH, LATE);
    assert_eq!(pace.grade(client(0)), Grade::Slow);
}

#[tokio::test(start_paused = true)]
async fn one_that_only_uses_up_time_is_an_offender_until_it_answers_or_a_while_passed() {
    let pace = Pace::of("p".into());
    let clients = u8::try_from(CLIENTS).unwrap();
    for number in 0..clients {
        assert_ne!(pace.grade(client(99)), Grade::Offender);
        pace.learn(client(number), TOO_MUCH, LATE);
    }
    assert_eq!(pace.grade(client(99)), Grade::Offender);
    pace.learn(client(99), QUICK, ANSWERED);
    assert_eq!(pace.grade(client(99)), Grade::Slow);
    for number in 0..clients {
        pace.learn(client(number), QUICK, &trapped());
    }
    assert_eq!(pace.grade(client(99)), Grade::Offender);
    advance(LASTS).await;
    assert_eq!(pace.grade(client(99)), Grade::Slow);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_does_to_its_own_calls_makes_an_offender_of_nobody_else() {
    let pace = Pace::of("p".into());
    for _ in 0..100 {
        for number in 1..3 {
            pace.learn(client(number), TOO_MUCH, LATE);
        }
    }
    assert_eq!(pace.grade(client(1)), Grade::Offender);
    assert_eq!(pace.grade(client(2)), Grade::Offender);
    assert_eq!(pace.grade(client(3)), Grade::Slow);
    // One that is answered is none any more.
    pace.learn(client(1), QUICK, ANSWERED);
    assert_eq!(pace.grade(client(1)), Grade::Slow);
    assert_eq!(pace.grade(client(2)), Grade::Offender);
}

#[tokio::test(start_paused = true)]
async fn clients_that_are_remembered_are_bounded_in_number() {
    let pace = Pace::of("p".into());
    for number in 0..=255 {
        pace.learn(client(number), TOO_MUCH, LATE);
    }
    let lately = pace.lock();
    assert_eq!(lately.clients.len(), MAX_CLIENTS);
    assert_eq!(lately.row.len(), CLIENTS);
}

#[tokio::test(start_paused = true)]
async fn to_trap_at_once_or_to_get_no_core_is_no_offence() {
    let pace = Pace::of("p".into());
    for number in 0..100 {
        pace.learn(client(number), QUICK / 2, &trapped());
        assert_eq!(pace.grade(client(number)), Grade::Quick);
    }
    for number in 0..100 {
        pace.learn(client(number), QUICK, LATE);
        assert_ne!(pace.grade(client(number)), Grade::Offender);
    }
}
