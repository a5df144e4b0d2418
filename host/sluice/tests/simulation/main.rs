//! Thousands of schedules, each made from a seed, against a whole gateway.
//!
//! Everything is real but the ends: the HTTP upgrade, the stages of the socket
//! and the registry of claims run as they are served, over a byte stream in
//! memory, with a clock that is moved only when nobody has anything to do.
//! Clients, policies and upstreams are played as a schedule says; then every
//! connection is judged by what happened to it.
//!
//! `SLUICE_SIM_RUNS=n` says how many schedules are played, `SLUICE_SIM_SEED=n`
//! plays one and prints what happened. The README beside this file says more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a simulation that cannot be set up has failed, and its numbers are small"
)]

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use seen::Seen;

mod client;
mod generate;
mod item;
mod neighbours;
mod oracle;
mod output;
mod pipe;
mod policy;
mod run;
mod schedule;
mod script;
mod seen;
mod trace;
mod upstream;
mod world;

const RUNS: u64 = 5_000;
/// A schedule takes milliseconds. One that takes this long has the host in an endless loop, in
/// which the clock does not advance.
const HANGS: Duration = Duration::from_mins(2);

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number, not {value:?}")),
    )
}

/// Plays a seed twice, and says what is wrong with it.
fn faults(seed: u64, seen: &Mutex<Seen>) -> Vec<String> {
    let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let report = run::play(generate::schedule(seed));
        let again = run::play(generate::schedule(seed));
        let mut faults = oracle::judge(&report);
        if report.entries != again.entries {
            faults.push("played again, it went another way".to_owned());
        }
        seen.lock().unwrap().add(&report);
        faults
    }));
    judged.unwrap_or_else(|_| vec!["the simulation itself panicked".to_owned()])
}

#[test]
fn no_schedule_breaks_the_promise_and_each_plays_the_same_again() {
    if let Some(seed) = number("SLUICE_SIM_SEED") {
        return replay(seed);
    }
    let runs = number("SLUICE_SIM_RUNS").unwrap_or(RUNS);
    let next = AtomicU64::new(0);
    let (failed, seen) = (Mutex::new(Vec::new()), Mutex::new(Seen::default()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let running = Mutex::new(BTreeMap::new());
    let (playing, over) = channel::<()>();
    std::thread::scope(|scope| {
        let running = &running;
        scope.spawn(move || watch(running, &over));
        for _ in 0..threads {
            let playing = playing.clone();
            let (next, running, failed, seen) = (&next, running, &failed, &seen);
            scope.spawn(move || {
                let _playing = playing;
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        break;
                    }
                    running.lock().unwrap().insert(seed, Instant::now());
                    let faults = faults(seed, seen);
                    running.lock().unwrap().remove(&seed);
                    if !faults.is_empty() {
                        failed.lock().unwrap().push((seed, faults));
                    }
                }
            });
        }
        drop(playing);
    });
    let (mut failed, seen) = (failed.into_inner().unwrap(), seen.into_inner().unwrap());
    println!("{runs} schedules, all traces: {:016x}", seen.traces);
    failed.sort();
    for (seed, faults) in failed.iter().take(10) {
        println!("seed {seed}:\n    {}", faults.join("\n    "));
    }
    if let Some((seed, _)) = failed.first() {
        panic!(
            "{} of {runs} schedules broke the promise; the first again, with all that happened: \
             SLUICE_SIM_SEED={seed} cargo test --workspace --test simulation -- --nocapture",
            failed.len()
        );
    }
    // A promise that was never put to the test is not kept.
    if runs >= RUNS {
        assert_eq!(
            seen.missing(),
            Vec::<String>::new(),
            "no schedule came to these"
        );
    }
}

#[test]
fn no_client_changes_what_becomes_of_another() {
    if let Some(seed) = number("SLUICE_SIM_SEED") {
        let faults = neighbours::faults(seed);
        return assert!(
            faults.is_empty(),
            "seed {seed}:\n    {}",
            faults.join("\n    ")
        );
    }
    let runs = number("SLUICE_SIM_RUNS").unwrap_or(RUNS / 5);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    let play = || {
        let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let seeds = seeds.take_while(|seed| *seed < runs);
        let faults = seeds.map(|seed| (seed, neighbours::faults(seed)));
        faults
            .filter(|(_, faults)| !faults.is_empty())
            .collect::<Vec<_>>()
    };
    let mut failed: Vec<_> = std::thread::scope(|scope| {
        let playing: Vec<_> = (0..threads).map(|_| scope.spawn(play)).collect();
        playing
            .into_iter()
            .flat_map(|playing| playing.join().unwrap())
            .collect()
    });
    failed.sort();
    for (seed, faults) in failed.iter().take(10) {
        println!("seed {seed}:\n    {}", faults.join("\n    "));
    }
    assert!(
        failed.is_empty(),
        "in {} of {runs} schedules a client changed what became of another; one again: \
         SLUICE_SIM_SEED={} cargo test --workspace --test simulation another",
        failed.len(),
        failed[0].0
    );
}

/// Ends the test where a schedule does not end, which nothing else can.
fn watch(running: &Mutex<BTreeMap<u64, Instant>>, over: &Receiver<()>) {
    while over.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        let running = running.lock().unwrap();
        let hangs = running.iter().find(|(_, since)| since.elapsed() > HANGS);
        if let Some((seed, _)) = hangs {
            eprintln!("seed {seed} does not end");
            std::process::abort();
        }
    }
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
