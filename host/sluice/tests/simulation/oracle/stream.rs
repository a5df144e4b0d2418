//! Streams, through all connections that they have.

use super::super::item::{Meaning, speech};
use super::super::run::Report;
use super::super::schedule::OnClose;
use super::super::trace::{Entry, Event, Gone, Taken};
use super::causes::WRITE;
use super::view::View;
use upstream::StreamEnd;

pub fn check(report: &Report, faults: &mut Vec<String>) {
    for me in 0..report.schedule.connections.len() {
        let view = View::of(report, me);
        if view.stream_id() != me {
            continue;
        }
        let mut found = Vec::new();
        check_audio(&view, &mut found);
        check_parking(&view, &mut found);
        check_end(&view, &mut found);
        faults.extend(found.into_iter().map(|it| format!("stream {me}: {it}")));
    }
}

/// Without a gap and nothing twice, however often its client came back.
fn check_audio(view: &View<'_>, faults: &mut Vec<String>) {
    let speaks =
        |item: &(usize, &super::super::item::Item)| matches!(item.1.meaning, Meaning::Speech(_));
    if !view.items.iter().any(speaks) {
        return;
    }
    let mut taken = Vec::new();
    for entry in view.stream() {
        if let Event::Took(Taken::Binary(payload)) = &entry.event {
            taken.extend_from_slice(&payload.0);
        }
    }
    if taken != speech(0, taken.len()) {
        faults.push("the upstream did not get what was said from its beginning".to_owned());
    }
}

/// A stream that waits for its client ends when it has to, and not before.
fn check_parking(view: &View<'_>, faults: &mut Vec<String>) {
    let schedule = view.schedule;
    let mut parked: Option<&Entry> = None;
    let mut may_end: Vec<u64> = Vec::new();
    for entry in view.stream() {
        match &entry.event {
            Event::Parks => {
                parked = Some(entry);
                let grace = schedule.bounds.resume_grace.unwrap_or_default();
                may_end = vec![entry.at + grace, schedule.close_at.max(entry.at)];
                may_end.extend(schedule.drain_at.map(|at| at.max(entry.at)));
                if schedule.bounds.resume_grace.is_none() {
                    faults.push("it waits for its client without a grace".to_owned());
                }
            }
            Event::Evicted | Event::Away(Gone::Lost | Gone::Closed) => may_end.push(entry.at),
            Event::Takes => parked = None,
            Event::Away(Gone::Sealing(ending)) => {
                let Some(began) = parked.take() else {
                    faults.push("it was sealed away, and never parked".to_owned());
                    continue;
                };
                let due = may_end.iter().filter(|at| **at >= began.at).min();
                // Nobody took it after all, and there is no room.
                let early = schedule.parking < schedule.connections.len();
                let late = due.is_none_or(|due| entry.at > *due);
                if late || (due != Some(&entry.at) && !early) {
                    faults.push(format!(
                        "parked at {}, it ended at {}, and {due:?} was due",
                        began.at, entry.at
                    ));
                }
                if *ending == StreamEnd::Complete {
                    faults.push("a stream without its client was complete".to_owned());
                }
            }
            Event::Away(Gone::Panicked) => parked = None,
            _ => {}
        }
    }
    if let Some(entry) = parked {
        faults.push(format!("parked at {}, it never ended", entry.at));
    }
}

/// It is sealed once.
fn check_end(view: &View<'_>, faults: &mut Vec<String>) {
    let seals = |entry: &&Entry| {
        matches!(
            entry.event,
            Event::Sealing(_) | Event::Away(Gone::Sealing(_))
        )
    };
    let panics =
        |entry: &Entry| matches!(entry.event, Event::Panicked | Event::Away(Gone::Panicked));
    let opened = view.stream().any(|entry| entry.event == Event::Opened);
    let seals = view.stream().filter(seals).count();
    let panicked = view.stream().any(panics);
    if seals > 1 || (opened && seals == 0 && !panicked) {
        faults.push(format!("it was sealed {seals} times"));
    }
}

/// Whether a token leads to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leads {
    Somewhere,
    /// Something happens in that very instant, or it depends on what nobody
    /// saw.
    Perhaps,
    Nowhere,
}

/// What the token leads to that was told to a connection, at an instant.
pub fn leads(view: &View<'_>, told: Option<usize>, at: u64) -> Leads {
    let Some(told) = told else {
        return Leads::Nowhere;
    };
    let stream = view.other(told);
    let mut good = Good::default();
    let mut before = None;
    for entry in stream.stream() {
        if entry.at >= at {
            before.get_or_insert_with(|| good.at(told, at));
        }
        if entry.at > at {
            break;
        }
        good.follow(&stream, entry);
    }
    let after = good.at(told, at);
    match before {
        Some(before) if before != after => Leads::Perhaps,
        _ => after,
    }
}

/// Which tokens of a stream are good.
#[derive(Default)]
struct Good {
    tokens: Vec<usize>,
    sealing: Option<u64>,
    /// Complete, and remembered until then at the latest.
    remembered: Option<u64>,
}

impl Good {
    fn at(&self, told: usize, at: u64) -> Leads {
        if !self.tokens.contains(&told) {
            return Leads::Nowhere;
        }
        match (self.sealing, self.remembered) {
            (None, _) => Leads::Somewhere,
            (Some(_), Some(until)) if at > until => Leads::Nowhere,
            (Some(_), Some(_)) => Leads::Perhaps,
            (Some(since), None) if at > since + WRITE => Leads::Nowhere,
            (Some(_), None) => Leads::Perhaps,
        }
    }

    fn follow(&mut self, stream: &View<'_>, entry: &Entry) {
        let me = entry.connection;
        match &entry.event {
            Event::Opened => self.tokens = vec![me],
            Event::Takes => {
                self.tokens = stream
                    .other(me)
                    .presents()
                    .into_iter()
                    .chain([me])
                    .collect();
            }
            Event::Took(Taken::Binary(_)) => self.tokens = vec![me],
            Event::Sealing(_) => self.sealing = Some(entry.at),
            Event::Sealed(_) => {
                let sealed = self.sealing.unwrap_or(entry.at);
                let view = stream.other(me);
                let complete = Event::Sealing(StreamEnd::Complete);
                if view.first(|event| *event == complete).is_some() && entry.at <= sealed + WRITE {
                    self.remembered = Some(forgotten(&view));
                } else {
                    self.tokens.clear();
                }
            }
            Event::SealFailed | Event::Panicked => self.tokens.clear(),
            Event::Away(Gone::Sealing(_) | Gone::Panicked) => self.tokens.clear(),
            _ => {}
        }
    }
}

/// By when nobody remembers a stream that a connection completed.
fn forgotten(view: &View<'_>) -> u64 {
    let dropped = view.dropped().unwrap_or(u64::MAX);
    let grace = view.schedule.bounds.resume_grace.unwrap_or_default();
    match view.plan.on_close {
        OnClose::Reply | OnClose::Leave | OnClose::GoOn => dropped.saturating_add(grace),
    }
}
