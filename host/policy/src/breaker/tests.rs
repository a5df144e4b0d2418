use std::time::Duration;

use super::*;
use crate::client::{ClientFault, Excess, Sent};
use crate::destinations::AnswerError;
use crate::verdict::{Limit, Unanswered};

const LASTS: Duration = Duration::from_secs(10);

fn breaker(lasts: Duration) -> Breaker {
    Breaker::new("p".into(), Quarantine { after: 3, lasts })
}

/// A call of the client with this number.
fn call(breaker: &Breaker, client: u8, verdict: &Verdict) -> Result<(), Failure> {
    let client = || Client::numbered(client);
    breaker
        .enter(client)
        .map(|attempt| attempt.report(verdict, client))
}

fn trap() -> Verdict {
    Verdict::Failed(Failure::Trap("unreachable".to_owned()))
}

fn good() -> Verdict {
    Verdict::Accept
}

fn clients_fault() -> Verdict {
    Verdict::ClientFault(ClientFault {
        excess: Excess::Copied,
        sent: Sent::Request,
    })
}

fn put_away(breaker: &Breaker) {
    for client in 0..3 {
        call(breaker, client, &trap()).unwrap();
    }
    assert_eq!(call(breaker, 9, &good()), Err(Failure::Quarantined));
}

#[tokio::test(start_paused = true)]
async fn different_clients_in_a_row_put_it_away_and_one_good_answer_brings_it_back() {
    let breaker = breaker(LASTS);
    put_away(&breaker);
    tokio::time::advance(LASTS).await;
    let probe = breaker.enter(|| Client::numbered(9)).unwrap();
    assert_eq!(call(&breaker, 8, &good()), Err(Failure::Quarantined));
    probe.report(&good(), || Client::numbered(9));
    for client in 0..2 {
        call(&breaker, client, &trap()).unwrap();
    }
    call(&breaker, 0, &good()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_put_away_stays_so_until_it_is_released() {
    let breaker = breaker(LASTS);
    let before = breaker.enter(|| Client::numbered(1)).unwrap();
    breaker.hold();
    before.report(&good(), || Client::numbered(1));
    tokio::time::advance(LASTS * 100).await;
    assert_eq!(call(&breaker, 2, &good()), Err(Failure::Quarantined));
    assert_eq!(breaker.state(), BreakerState::HeldByOperator);
    breaker.release();
    call(&breaker, 2, &good()).unwrap();
    // One of its own making ends so too.
    put_away(&breaker);
    breaker.release();
    call(&breaker, 2, &good()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_client_never_puts_it_away_nor_do_a_few() {
    let breaker = breaker(LASTS);
    for round in 0..100 {
        call(&breaker, round % 2, &trap()).unwrap();
        call(
            &breaker,
            0,
            &Verdict::Failed(Failure::Limit(Limit::Memory(1))),
        )
        .unwrap();
    }
    call(&breaker, 9, &good()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_a_clients_fault_neither_counts_nor_starts_the_count_again() {
    let breaker = breaker(LASTS);
    for client in 0..100 {
        call(&breaker, client, &clients_fault()).unwrap();
    }
    for client in 0..3 {
        call(&breaker, client, &clients_fault()).unwrap();
        call(&breaker, client, &trap()).unwrap();
    }
    assert_eq!(call(&breaker, 9, &good()), Err(Failure::Quarantined));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_gives_no_answer_says_nothing_about_the_policy() {
    let breaker = breaker(LASTS);
    let unanswered = Verdict::Unanswered(Unanswered {
        destination: "plans".to_owned(),
        error: AnswerError::Timeout,
    });
    for client in 0..3 {
        call(&breaker, client, &unanswered).unwrap();
        call(&breaker, client, &trap()).unwrap();
    }
    assert_eq!(call(&breaker, 9, &good()), Err(Failure::Quarantined));
    tokio::time::advance(LASTS).await;
    call(&breaker, 0, &unanswered).unwrap();
    assert_eq!(call(&breaker, 0, &unanswered), Err(Failure::Quarantined));
    call(&breaker, 1, &good()).unwrap();
    call(&breaker, 0, &good()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn probes_that_fail_for_different_clients_put_it_away_again() {
    let breaker = breaker(LASTS);
    put_away(&breaker);
    tokio::time::advance(LASTS).await;
    put_away(&breaker);
}

#[tokio::test(start_paused = true)]
async fn one_client_cannot_keep_it_away_by_being_the_one_that_is_probed() {
    for its_own in [trap(), clients_fault()] {
        let breaker = breaker(LASTS);
        put_away(&breaker);
        tokio::time::advance(LASTS).await;
        call(&breaker, 0, &its_own).unwrap();
        for _ in 0..100 {
            assert_eq!(call(&breaker, 0, &its_own), Err(Failure::Quarantined));
        }
        call(&breaker, 9, &good()).unwrap();
        call(&breaker, 0, &its_own).unwrap();
        call(&breaker, 9, &good()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_nobody_waited_for_is_made_again() {
    let breaker = breaker(LASTS);
    put_away(&breaker);
    tokio::time::advance(LASTS).await;
    drop(breaker.enter(|| Client::numbered(0)).unwrap());
    call(&breaker, 0, &good()).unwrap();
    call(&breaker, 0, &good()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn good_answers_between_failures_keep_it_in_use() {
    let breaker = breaker(LASTS);
    for client in 0..20 {
        call(&breaker, client, &trap()).unwrap();
        call(&breaker, client + 100, &trap()).unwrap();
        call(&breaker, 0, &good()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn no_room_is_not_its_fault_and_no_time_is_no_quarantine() {
    let busy = breaker(LASTS);
    let never = breaker(Duration::ZERO);
    for client in 0..20 {
        call(&busy, client, &Verdict::Failed(Failure::Busy)).unwrap();
        call(&never, client, &trap()).unwrap();
    }
}
