//! Thousands of schedules, each made from a seed, against a whole gateway.
//!
//! Everything is real but the ends: the HTTP upgrade, the stages of the socket
//! and the registry of claims run as they are served, over a byte stream in
//! memory, with a clock that is moved only when nobody has anything to do.
//! Clients, policies and upstreams are played as a schedule says; then every
//! connection is judged by what happened to it.
//!
//! `SLUICE_SIM_RUNS=n` says how many schedules are played, `SLUICE_SIM_SEED=n`
//! plays one and prints what happened.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a simulation that cannot be set up has failed, and its numbers are small"
)]

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

mod client;
mod generate;
mod item;
mod oracle;
mod output;
mod pipe;
mod policy;
mod run;
mod schedule;
mod script;
mod trace;
mod upstream;
mod world;

use output::Said;
use trace::Event;

const RUNS: u64 = 5_000;

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number, not {value:?}")),
    )
}

/// What is wrong with the run of a seed.
fn faults(seed: u64) -> Vec<String> {
    let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
        oracle::judge(&run::play(generate::schedule(seed)))
    }));
    judged.unwrap_or_else(|_| vec!["the simulation itself panicked".to_owned()])
}

#[test]
fn no_schedule_breaks_the_promise() {
    if let Some(seed) = number("SLUICE_SIM_SEED") {
        return replay(seed);
    }
    let runs = number("SLUICE_SIM_RUNS").unwrap_or(RUNS);
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        break;
                    }
                    let faults = faults(seed);
                    if !faults.is_empty() {
                        failed.lock().unwrap().push((seed, faults));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    for (seed, faults) in failed.iter().take(10) {
        println!("seed {seed}:\n    {}", faults.join("\n    "));
    }
    let Some((seed, _)) = failed.first() else {
        return;
    };
    panic!(
        "{} of {runs} schedules broke the promise; the first again, with all that happened: \
         SLUICE_SIM_SEED={seed} cargo test -p sluice --test simulation -- --nocapture",
        failed.len()
    );
}

/// Plays one seed, and prints everything.
fn replay(seed: u64) {
    let report = run::play(generate::schedule(seed));
    println!("{:#?}", report.schedule);
    for entry in &report.entries {
        println!(
            "{:>8} ms  {}  {:?}",
            entry.at, entry.connection, entry.event
        );
    }
    let faults = oracle::judge(&report);
    assert!(
        faults.is_empty(),
        "seed {seed}:\n    {}",
        faults.join("\n    ")
    );
}

#[test]
fn a_seed_plays_the_same_again() {
    for seed in 0..100 {
        let (first, second) = (
            run::play(generate::schedule(seed)),
            run::play(generate::schedule(seed)),
        );
        assert_eq!(first.entries, second.entries, "seed {seed}");
    }
}

/// A promise that was never put to the test is not kept.
#[test]
fn the_schedules_reach_every_row_of_the_table() {
    let mut words = BTreeSet::new();
    let mut codes = BTreeSet::new();
    for seed in 0..1_000 {
        for entry in run::play(generate::schedule(seed)).entries {
            match entry.event {
                Event::Said(Said::Error { code, .. }) => words.insert(code),
                Event::Said(Said::Finalized { .. }) => words.insert("finalized".to_owned()),
                Event::Said(Said::Close { code, .. }) => codes.insert(code),
                _ => false,
            };
        }
    }
    for word in [
        "auth_failed",
        "auth_unavailable",
        "draining",
        "finalized",
        "handshake_invalid",
        "handshake_timeout",
        "idle_timeout",
        "ingest_exists",
        "internal_error",
        "not_found",
        "overloaded",
        "own_word",
        "policy_denied",
        "policy_failed",
        "rate_limited",
        "superseded",
        "token_expired",
        "upstream_unavailable",
    ] {
        assert!(words.contains(word), "{word} never came");
    }
    for code in [1000, 1001, 1002, 1007, 1009, 1013, 4999] {
        assert!(codes.contains(&code), "{code} never came");
    }
}
