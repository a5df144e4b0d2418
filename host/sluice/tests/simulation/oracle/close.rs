//! The end of a connection, as its client sees it.

use super::super::output::Said;
use super::super::schedule::{Fault, Reading, RouteKind, Step};
use super::super::trace::Event;
use super::causes::{Cause, Expected, WRITE};
use super::close_message::{close_message, fits, gives_the_reason};
use super::view::View;

/// In milliseconds.
const SETTLE: u64 = 100;
const CLOSE: u64 = 2_000;

/// Checks the Close and the message before it, and returns the cause that they fit.
pub fn check(view: &View<'_>, verdict: &Expected, faults: &mut Vec<String>) -> Option<Cause> {
    let closes: Vec<_> = close_frames(view).collect();
    check_order(view, verdict.from, faults);
    let [(at, code, reason)] = closes.as_slice() else {
        if closes.len() > 1 {
            faults.push(format!("{} Close frames", closes.len()));
        } else if !undeliverable(view, verdict.from) {
            faults.push(format!("no Close; {:?} was due", verdict.causes));
        }
        return None;
    };
    check_lingering(view, *at, faults);
    check_delivery(view, faults);
    let before = view.said().map(|(_, said)| said).rev_before_close();
    let causes = verdict.causes.iter().map(|cause| sealed(view, cause));
    let causes: Vec<Cause> = causes.collect();
    let matching = causes.into_iter().find(|cause| {
        let close_message = close_message(view, cause);
        close_message.codes.contains(code)
            && gives_the_reason(cause, reason)
            && fits(&close_message, *code, reason, before)
    });
    if matching.is_none() {
        let due = &verdict.causes;
        faults.push(format!(
            "Close {code} {reason:?} after {before:?}, where {due:?} was due by {} ms",
            verdict.by
        ));
    }
    check_parks(view, matching.as_ref(), faults);
    let decided = view.first(|event| matches!(event, Event::Sealing(_) | Event::Parks));
    if decided.is_some_and(|at| at > verdict.by) {
        faults.push(format!(
            "the end came late: {decided:?}, due {}",
            verdict.by
        ));
    }
    matching
}

/// Only the stream of a client that was lost goes on, and that has to.
fn check_parks(view: &View<'_>, ended: Option<&Cause>, faults: &mut Vec<String>) {
    let parks = view.parks();
    let lost = matches!(
        ended,
        Some(Cause::Gone | Cause::Idle | Cause::Stalled | Cause::Unfinished | Cause::Resumed)
    );
    let open = view.first(|event| *event == Event::ClosesOpen).is_some();
    if open && parks.is_none() {
        faults.push("the Close came before the stream was sealed and all released".to_owned());
    }
    if parks.is_some() && (!lost || !view.is_resumable()) {
        faults.push(format!("the stream goes on after {ended:?}"));
    }
    // What is read behind that is thrown away.
    let held = view.all(|event| *event == Event::ReadsHeld).next();
    if held.is_some() && (parks.is_none() || held < parks) {
        faults.push("the host read while it was held back".to_owned());
    }
    let room = view.schedule.parking >= view.schedule.connections.len();
    if lost && room && view.streams() && view.is_resumable() && parks.is_none() {
        faults.push(format!(
            "the stream did not wait for its client after {ended:?}"
        ));
    }
}

trait RevBeforeClose<'a> {
    fn rev_before_close(self) -> Option<&'a Said>;
}

impl<'a, I: Iterator<Item = &'a Said>> RevBeforeClose<'a> for I {
    /// What was said last before the Close.
    fn rev_before_close(self) -> Option<&'a Said> {
        self.take_while(|said| !matches!(said, Said::Close { .. }))
            .last()
    }
}

fn close_frames<'a>(view: &'a View<'a>) -> impl Iterator<Item = (u64, u16, &'a str)> {
    view.said().filter_map(|(at, said)| match said {
        Said::Close { code, reason } => Some((at, *code, reason.as_str())),
        _ => None,
    })
}

/// One head, frames, nothing after the Close, no garbage, no second error.
fn check_order(view: &View<'_>, from: u64, faults: &mut Vec<String>) {
    let said: Vec<_> = view.said().map(|(_, said)| said).collect();
    if view.heads().count() != 1 {
        faults.push("more than one HTTP head".to_owned());
    }
    let close = said.iter().position(|it| matches!(it, Said::Close { .. }));
    if close.is_some_and(|at| at + 1 < said.len()) {
        faults.push(format!(
            "said after the Close: {:?}",
            &said[close.unwrap() + 1..]
        ));
    }
    if said.iter().any(|it| matches!(it, Said::Garbage(_))) {
        faults.push("the host sent what no server may send".to_owned());
    }
    let torn = view.first(|event| *event == Event::Torn).is_some();
    if torn && (close.is_some() || !undeliverable(view, from)) {
        faults.push("the host left something half said".to_owned());
    }
    let last_message = |it: &&&Said| matches!(it, Said::Error { .. } | Said::Finalized { .. });
    let position = said.iter().position(|it| last_message(&it));
    if position.is_some_and(|at| at + 2 < said.len()) {
        faults.push("said between the last message and the Close".to_owned());
    }
}

/// Whether the client reads as long as the host does, and the host has not
/// reached the bound of what it throws away.
fn is_owed(view: &View<'_>) -> bool {
    let read = view.reads.last().map_or(0, |(_, total)| *total as u64);
    view.plan.reading == Reading::BetweenSends && read < view.schedule.bounds.max_discard
}

/// Whether a Close could not be written: the transport was dead, or the client
/// did not read for long enough.
fn undeliverable(view: &View<'_>, from: u64) -> bool {
    let failed = |event: &Event| matches!(event, Event::WriteFailed);
    if view.first(failed).is_some() {
        return true;
    }
    let Some(dropped) = view.dropped() else {
        return false;
    };
    let wrote = view.all(|event| matches!(event, Event::Wrote(_))).last();
    let stalled = wrote.is_some_and(|at| dropped >= at + CLOSE);
    // The last message and the Close were queued when the link was sealed, or given up.
    let sealed = view.first(|it| matches!(it, Event::Sealed(_) | Event::SealFailed));
    let sealing = view.first(|it| matches!(it, Event::Sealing(_)));
    let panicked = view.first(|it| *it == Event::Panicked);
    let ended = sealed.or(panicked);
    let began = sealing.map_or(from, |at| ended.unwrap_or(u64::MAX).min(at + WRITE));
    let given_up = dropped.saturating_sub(began) >= WRITE;
    let excused = view.client_is_slow() && !is_owed(view);
    excused && (stalled || given_up)
}

/// Checks that the error frame settles before the Close, and that the host lingers after it.
fn check_lingering(view: &View<'_>, closed: u64, faults: &mut Vec<String>) {
    let message = view.said().find_map(|(at, said)| match said {
        Said::Error { .. } | Said::Finalized { .. } => Some(at),
        _ => None,
    });
    let begins = view.first(|event| *event == Event::CloseBegins);
    let over = view.first(|it| matches!(it, Event::ReadEnd | Event::ReadFailed));
    let peer_closed = view
        .items
        .iter()
        .find_map(|(place, item)| match item.meaning {
            super::super::item::Meaning::Close(_) => view.read_at(place + item.bytes.0.len()),
            _ => None,
        });
    if let (Some(message), Some(begins)) = (message, begins) {
        let hurried = [over, peer_closed].iter().flatten().any(|at| *at <= begins);
        if begins < message + SETTLE && !hurried {
            faults.push("the Close came right behind the last message".to_owned());
        }
    }
    check_discarded(view, faults);
    let Some(dropped) = view.dropped() else {
        return;
    };
    if dropped > closed + CLOSE {
        faults.push(format!("held for {} ms after the Close", dropped - closed));
    }
    if dropped < closed + CLOSE && over.is_none_or(|at| at > dropped) {
        faults.push("dropped while the client may still be sending".to_owned());
    }
    if view.first(|event| *event == Event::ShutDown).is_none() {
        faults.push("dropped without a shutdown of the write side".to_owned());
    }
}

/// What is read behind the Close, only to be thrown away, has a bound.
fn check_discarded(view: &View<'_>, faults: &mut Vec<String>) {
    let behind = view.entries.iter();
    let behind = behind.skip_while(|(_, event)| **event != Event::CloseBegins);
    let reads = behind.filter_map(|(_, event)| match event {
        Event::Read(count) => Some(*count as u64),
        _ => None,
    });
    let mut reads: Vec<u64> = reads.collect();
    // The bound may be passed with a message, and with what comes along.
    let bounds = view.schedule.bounds;
    let _ = reads.pop();
    let read: u64 = reads.iter().sum();
    // What has no route has no limits of its own.
    let routed = view.plan.route != RouteKind::Nowhere;
    if routed && read > bounds.max_discard + bounds.max_message as u64 {
        faults.push(format!("{read} bytes were read to be thrown away"));
    }
}

/// A client that reads, and does not go away by itself, gets everything.
fn check_delivery(view: &View<'_>, faults: &mut Vec<String>) {
    let goes = |step: &Step| matches!(step, Step::Reset | Step::Leave);
    let reads = view.plan.reading == Reading::Eagerly || is_owed(view);
    if !reads || view.plan.script.iter().any(goes) {
        return;
    }
    let (mut wrote, mut received) = (0, 0);
    for (_, event) in &view.entries {
        match event {
            Event::Wrote(count) => wrote += count,
            Event::Received(count) => received += count,
            _ => {}
        }
    }
    if wrote != received {
        faults.push(format!("of {wrote} bytes the client received {received}"));
    }
}

/// A stream that could not be sealed did not end well.
fn sealed(view: &View<'_>, cause: &Cause) -> Cause {
    let sealing = view.first(|event| matches!(event, Event::Sealing(_)));
    if sealing.is_some() && view.plan.link.fault == Some(Fault::PanicInSeal) {
        return Cause::Internal;
    }
    if !matches!(cause, Cause::Finalized | Cause::Done) {
        return cause.clone();
    }
    let done = view.first(|event| matches!(event, Event::Sealed(_)));
    match (sealing, done) {
        (Some(sealing), Some(done)) if done <= sealing + WRITE => cause.clone(),
        _ => Cause::Upstream,
    }
}
