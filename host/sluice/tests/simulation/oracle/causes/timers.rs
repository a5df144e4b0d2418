//! The deadlines of a stream.

use super::super::super::item::Meaning;
use super::super::super::schedule::Readiness;
use super::super::super::trace::Event;
use super::{Cause, NEVER, Walk};

/// In milliseconds.
const IDLE: u64 = 90_000;
const UNFINISHED: u64 = 10_000;
pub const WRITE: u64 = 30_000;

impl Walk<'_> {
    /// The first time in which nothing was received for too long.
    pub fn silence(&mut self, begins: u64) {
        let mut last = begins;
        for (at, _) in self.view.reads.iter().filter(|(at, _)| *at > begins) {
            if at - last >= IDLE {
                break;
            }
            last = *at;
        }
        let races = self.view.reads.iter().any(|(at, _)| *at == last + IDLE);
        self.since(last + IDLE, races, Cause::Idle);
    }

    /// The first message that was begun and not finished for too long.
    pub fn unfinished(&mut self, begins: u64, next_item: usize) {
        let view = self.view;
        let mut ends = Vec::new();
        let mut fragmented = false;
        for (place, item) in view.items.iter().skip(next_item) {
            let control = matches!(item.meaning, Meaning::Ping(_) | Meaning::Pong);
            if item.meaning == Meaning::Part {
                fragmented = true;
            } else if !(control && fragmented) {
                fragmented = false;
                ends.push(place + item.bytes.0.len());
            }
        }
        let mut since = None;
        let start = view.items.get(next_item).map_or(NEVER as usize, |it| it.0);
        let mut complete = start;
        for (at, total) in &view.reads {
            let at = (*at).max(begins);
            if since.is_some_and(|since| at - since >= UNFINISHED) {
                break;
            }
            let done = ends.partition_point(|end| end <= total);
            let now = done.checked_sub(1).map_or(start, |last| ends[last]);
            if now > complete {
                (complete, since) = (now, None);
            }
            if *total > complete {
                since.get_or_insert(at);
            }
        }
        if let Some(since) = since {
            let due = since + UNFINISHED;
            let races = self.view.reads.iter().any(|(at, _)| *at == due);
            self.since(due, races, Cause::Unfinished);
        }
    }

    /// A host that is held back does not count the time for which it is. What
    /// arrives in the very instant of a deadline races with it.
    fn since(&mut self, at: u64, races: bool, cause: Cause) {
        let exact = self.view.is_free() && !races;
        let latest = if exact { at } else { NEVER };
        self.candidates.push((at, latest, cause));
    }

    /// Something waits to be written, and for too long the transport takes
    /// nothing.
    pub fn stall(&mut self) {
        let mut blocked = None;
        let mut wrote = 0;
        for (at, event) in &self.view.entries {
            if blocked.is_some_and(|since| at - since >= WRITE) {
                break;
            }
            match event {
                Event::WriteBlocked => {
                    blocked.get_or_insert(*at);
                }
                Event::Wrote(_) => (blocked, wrote) = (None, *at),
                _ => {}
            }
        }
        if let Some(blocked) = blocked {
            let (earliest, latest) = (wrote + WRITE, blocked + WRITE);
            self.candidates.push((earliest, latest, Cause::Stalled));
        }
    }

    /// The upstream takes nothing for too long.
    pub fn upstream_stalls(&mut self, begins: u64) {
        let taken = self.view.stream();
        let mut taken = taken.filter(|entry| matches!(entry.event, Event::Took(_)));
        let busy_since = match self.view.plan.link.ready {
            Readiness::Until(0) => Some(begins),
            Readiness::Until(last) => taken.nth(last - 1).map(|it| it.at),
            Readiness::Every(pause) if pause >= WRITE => taken.next().map(|it| it.at),
            Readiness::Every(_) | Readiness::Always => None,
        };
        drop(taken);
        if let Some(since) = busy_since.map(|since| since.max(begins)) {
            self.candidates.push(match self.view.plan.link.ready {
                // It is ready again in the very instant.
                Readiness::Every(WRITE) => (since + WRITE, NEVER, Cause::Upstream),
                _ => (since + WRITE, since + WRITE, Cause::Upstream),
            });
        }
    }
}
