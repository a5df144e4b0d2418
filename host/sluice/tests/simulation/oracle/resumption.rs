//! What became of clients that came back, and of streams that waited.

use super::super::output::Said;
use super::super::run::Report;
use super::super::trace::{Event, Gone};
use super::stream::{Leads, leads};
use super::view::View;

/// Every kind that there is.
pub const ALL: [&str; 12] = [
    "a token that nobody was told is refused",
    "a token of another stream is refused",
    "a token of another user is refused",
    "a token that was used is refused",
    "a token that comes too late is refused",
    "a parked stream goes on",
    "a stream goes on while its connection seems alive",
    "a stream that was complete is confirmed",
    "a parked stream ends with its grace",
    "a parked stream ends with its upstream",
    "a parked stream is evicted",
    "a client comes back twice",
];

pub fn kinds(report: &Report) -> Vec<&'static str> {
    let all = 0..report.schedule.connections.len();
    all.flat_map(|me| of(&View::of(report, me))).collect()
}

fn of(view: &View<'_>) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    if view.plan.returns.is_some() {
        kinds.extend(return_of(view));
    }
    if view.stream_id() == view.me {
        kinds.extend(stream_of(view));
    }
    kinds
}

fn return_of(view: &View<'_>) -> Option<&'static str> {
    let said = |wanted: &dyn Fn(&Said) -> bool| view.said().any(|(_, said)| wanted(said));
    if said(&|said| matches!(said, Said::Error { code, .. } if code == "resume_refused")) {
        let Some(told) = view.presents() else {
            return Some(ALL[0]);
        };
        let over = |event: &Event| {
            matches!(event, Event::Away(Gone::Sealing(_))) || matches!(event, Event::Sealing(_))
        };
        let over = view.stream().find(|it| over(&it.event)).map(|it| it.at);
        let upgraded = view.upgraded()?;
        return if view.other(told).stream_id() != view.stream_id() {
            Some(ALL[1])
        } else if !view.is_owner() {
            Some(ALL[2])
        } else if over.is_some_and(|over| over < upgraded) {
            Some(ALL[4])
        } else {
            let used = leads(view, Some(told), upgraded) == Leads::Nowhere;
            used.then_some(ALL[3])
        };
    }
    let complete = said(&|said| matches!(said, Said::Finalized { .. })) && !view.streams();
    complete.then_some(ALL[7])
}

fn stream_of(view: &View<'_>) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    let (mut parked, mut ended, mut evicted, mut takes) = (None, false, false, 0);
    for entry in view.stream() {
        match &entry.event {
            Event::Parks => (parked, evicted, ended) = (Some(entry.at), false, false),
            Event::Evicted => evicted = true,
            Event::Away(Gone::Lost | Gone::Closed) => ended = true,
            Event::Takes => {
                takes += 1;
                // A connection lets go in the instant in which it is asked to.
                kinds.push(match parked.take() {
                    Some(at) if at < entry.at => ALL[5],
                    _ => ALL[6],
                });
            }
            Event::Away(Gone::Sealing(_)) if ended => kinds.push(ALL[9]),
            Event::Away(Gone::Sealing(_)) if evicted => kinds.push(ALL[10]),
            Event::Away(Gone::Sealing(_)) => {
                let grace = view.schedule.bounds.resume_grace;
                if parked
                    .zip(grace)
                    .is_some_and(|(at, grace)| at + grace == entry.at)
                {
                    kinds.push(ALL[8]);
                }
            }
            _ => {}
        }
    }
    if takes > 1 {
        kinds.push(ALL[11]);
    }
    kinds
}
