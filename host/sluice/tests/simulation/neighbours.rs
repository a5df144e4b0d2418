//! No client changes another's outcome: the same client is played alone, and
//! among those of a schedule, and has to come to the same to the millisecond.

use super::generate;
use super::run::{self, Report};
use super::trace::{Entry, Event};

/// What became of the client among others that did not when it was alone.
pub fn faults(seed: u64) -> Vec<String> {
    let played = std::panic::catch_unwind(|| {
        let (alone, among) = generate::neighbours(seed);
        (run::play(alone), run::play(among))
    });
    let Ok((alone, among)) = played else {
        return vec!["the simulation itself panicked".to_owned()];
    };
    let (alone, among) = (outcome(&alone), outcome(&among));
    let same = alone.iter().zip(&among).take_while(|(a, b)| a == b).count();
    if alone.len() == same && among.len() == same {
        return Vec::new();
    }
    let next = |events: &[(u64, Event)]| format!("{:?}", events.get(same));
    vec![format!(
        "after {same} things, alone came {}, and among others {}",
        next(&alone),
        next(&among)
    )]
}

/// What the last client of a run was told, and what its upstream was given.
fn outcome(report: &Report) -> Vec<(u64, Event)> {
    let me = report.schedule.connections.len() - 1;
    let counts = |entry: &&Entry| {
        let outcome = matches!(
            entry.event,
            Event::Said(_)
                | Event::Took(_)
                | Event::Opened
                | Event::OpenFailed
                | Event::Completed
                | Event::Sealed(_)
                | Event::SealFailed
                | Event::Evicted
        );
        outcome && entry.connection == me
    };
    let entries = report.entries.iter().filter(counts);
    entries
        .map(|entry| (entry.at, entry.event.clone()))
        .collect()
}
