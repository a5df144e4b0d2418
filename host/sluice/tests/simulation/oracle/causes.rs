//! Why a connection had to end, told from what happened to it.
//!
//! Every stage of the protocol is followed, and everything that may end the
//! connection is noted with the instants between which the host acts on it.
//! Virtual time stands still while anybody has work to do, so the host acts in
//! the very instant in which it learns of something, and the first cause wins;
//! causes of one instant race.

use super::super::item::{Meaning, Text};
use super::super::schedule::{Act, Open, RouteKind};
use super::super::trace::{Event, Stage};
pub use super::cause::Cause;
use super::view::View;

mod limits;
mod returns;
mod timers;
mod windows;

pub use limits::completion;
pub use timers::WRITE;

/// What the oracle says.
pub struct Expected {
    /// The causes that are right.
    pub causes: Vec<Cause>,
    /// The first instant in which one of them may have been acted on.
    pub from: u64,
    /// The instant by which the host must have acted on one of them.
    pub by: u64,
    pub faults: Vec<String>,
}

/// In milliseconds; the host's own time before the ack.
const ADMISSION: u64 = 4_000;
const HANDSHAKE: u64 = 10_000;

/// `u64::MAX` for what has no bound.
const NEVER: u64 = u64::MAX;

struct Walk<'a> {
    view: &'a View<'a>,
    candidates: Vec<(u64, u64, Cause)>,
    /// What should have happened at an instant and did not.
    missing: Vec<(u64, &'static str)>,
    left: u64,
}

pub fn verdict(view: &View<'_>, upgraded: u64) -> Expected {
    let mut walk = Walk {
        view,
        candidates: Vec::new(),
        missing: Vec::new(),
        left: ADMISSION,
    };
    walk.outside(upgraded);
    walk.connect(upgraded);
    let by = walk.candidates.iter().map(|(_, latest, _)| *latest).min();
    // Everything ends when the gateway closes.
    let by = by.unwrap_or(NEVER);
    // What may have ended it by then excuses what did not happen.
    let from = walk.candidates.iter().map(|(earliest, ..)| *earliest).min();
    let missing = walk.missing.iter().filter(|(at, _)| Some(*at) < from);
    let faults = missing.map(|(at, what)| format!("{what} is missing at {at} ms"));
    let faults = faults.collect();
    let mut right = walk.candidates;
    right.retain(|(at, _, _)| *at <= by);
    Expected {
        from: from.unwrap_or(by),
        causes: right.into_iter().map(|(_, _, cause)| cause).collect(),
        by,
        faults,
    }
}

impl Walk<'_> {
    fn exact(&mut self, at: u64, cause: Cause) {
        self.candidates.push((at, at, cause));
    }

    /// A deadline. What happens in its very instant races with it.
    fn expires(&mut self, at: u64, happened: Option<u64>, cause: Cause) {
        match happened {
            Some(before) if before < at => {}
            Some(_) => self.candidates.push((at, NEVER, cause)),
            None => self.exact(at, cause),
        }
    }

    /// What can happen at any stage.
    fn outside(&mut self, upgraded: u64) {
        self.exact(self.view.closes().max(upgraded), Cause::Draining);
        if let Some(at) = self.view.first(|event| *event == Event::Evicted) {
            self.exact(at, Cause::Evicted);
        }
        if let Some(at) = self.view.first(|event| *event == Event::Panicked) {
            self.exact(at, Cause::Internal);
        }
        if let Some(at) = self.view.first(|event| *event == Event::WriteFailed) {
            self.exact(at, Cause::Gone);
        }
    }

    fn connect(&mut self, at: u64) {
        if self.view.schedule.drain_at.is_some_and(|drain| drain < at) {
            self.exact(at, Cause::Draining);
        }
        if self.view.is_overload() {
            return self.exact(at, Cause::Overloaded);
        }
        if let Some(allowed) = self.view.schedule.attempts {
            let allowed = allowed as usize;
            let (before, with_it) = self.view.attempts_before();
            if before >= allowed {
                return self.exact(at, Cause::RateLimited);
            }
            if with_it >= allowed {
                self.candidates.push((at, NEVER, Cause::RateLimited));
            }
        }
        if self.view.origin_is_foreign() && self.view.plan.route != RouteKind::Nowhere {
            return self.exact(at, Cause::OriginDenied);
        }
        if self.view.plan.route == RouteKind::Ingest && !self.finds_its_stream(at) {
            return;
        }
        match self.view.plan.route {
            RouteKind::Nowhere => self.exact(at, Cause::NotFound),
            RouteKind::BadSource => self.exact(at, Cause::HandshakeInvalid),
            RouteKind::Raw => {
                if let Some(at) = self.chain(Stage::Connect, 2, at) {
                    self.open(at, 1);
                }
            }
            RouteKind::Ingest => {
                if let Some(at) = self.chain(Stage::Connect, 2, at) {
                    self.handshake(at);
                }
            }
        }
    }

    /// When a chain that begins now has admitted.
    fn chain(&mut self, stage: Stage, policies: usize, begins: u64) -> Option<u64> {
        let mut now = begins;
        for index in 0..policies {
            if self.view.first(|it| *it == Event::Asked(stage, index)) != Some(now) {
                self.missing.push((now, "a question to a policy"));
            }
            let answered = self
                .view
                .entries
                .iter()
                .find_map(|(at, event)| match event {
                    Event::Answered(s, i, act) if (*s, *i) == (stage, index) => Some((*at, *act)),
                    _ => None,
                });
            let expires = begins + self.left;
            self.expires(expires, answered.map(|(at, _)| at), Cause::PolicyFailed);
            let (at, act) = answered?;
            let fails_open = (stage, index) == (Stage::Connect, 1);
            match act {
                Act::Trap | Act::OutOfTime | Act::Busy if fails_open => {}
                act => self.acts(at, act),
            }
            now = at;
        }
        self.left = self.left.saturating_sub(now - begins);
        Some(now)
    }

    /// What an answer means where a policy's failure closes.
    fn acts(&mut self, at: u64, act: Act) {
        match act {
            Act::Accept => {}
            Act::Trap | Act::OutOfTime | Act::Busy => self.exact(at, Cause::PolicyFailed),
            Act::Reject(code) => self.exact(at, Cause::Denied(code)),
            Act::KeysUnavailable => self.exact(at, Cause::AuthUnavailable),
            Act::Panic => self.exact(at, Cause::Internal),
        }
    }

    fn handshake(&mut self, begins: u64) {
        let view = self.view;
        let asked = Event::Asked(Stage::Handshake, 0);
        let asked = view.first(|event| *event == asked);
        if asked.is_none() {
            self.exact(begins + HANDSHAKE, Cause::HandshakeTimeout);
        }
        let first = self.next_item(1, |meaning| match meaning {
            Meaning::Text(text) if text.greets() => Some(None),
            Meaning::Text(_) | Meaning::Binary(_) | Meaning::Speech(_) => {
                Some(Some(Cause::HandshakeInvalid))
            }
            other => client_ends(other).map(Some),
        });
        match first {
            Some((index, None)) => {
                let (place, item) = view.items[index];
                let read = view.read_at(place + item.bytes.0.len());
                match (read, asked) {
                    (Some(_), Some(at)) => {
                        if let Some(at) = self.chain(Stage::Handshake, 1, at) {
                            self.open(at, index + 1);
                        }
                    }
                    (Some(read), None) if !view.client_is_slow() => {
                        let what = "a question about the handshake";
                        self.missing.push((read.max(begins), what));
                    }
                    (Some(_), None) => {}
                    (None, _) => self.transport_ends(begins),
                }
            }
            Some((index, Some(cause))) => {
                let exact = !view.client_is_slow();
                if !self.client_item(index, cause, begins, exact) {
                    self.transport_ends(begins);
                }
            }
            None => self.transport_ends(begins),
        }
    }

    fn open(&mut self, begins: u64, next_item: usize) {
        let view = self.view;
        if view.plan.returns.is_some() {
            return self.goes_on(begins, next_item);
        }
        let expires = begins + self.left;
        let Some(opening) = view.first(|event| *event == Event::Opening) else {
            if view.first(|event| *event == Event::Evicts).is_some() {
                self.exact(expires, Cause::PredecessorStays);
            } else {
                self.missing.push((begins, "the opening of the upstream"));
            }
            return;
        };
        if let Some(at) = view.first(|event| *event == Event::OpenFailed) {
            self.exact(
                at,
                match view.plan.link.open {
                    Open::NoPlace => Cause::NoPlace,
                    Open::Refuses(code) => Cause::Refused(code),
                    _ => Cause::Upstream,
                },
            );
        }
        self.expires(expires, Some(opening), Cause::PredecessorStays);
        let opened = view.first(|event| *event == Event::Opened);
        self.expires(expires, opened, Cause::Upstream);
        if let Some(at) = opened {
            self.stream(at, next_item);
        }
    }

    fn stream(&mut self, begins: u64, next_item: usize) {
        let view = self.view;
        if view.first(|event| *event == Event::Expired).is_some() {
            self.exact(begins, Cause::TokenExpired);
        }
        if let Some(at) = view.first(|event| *event == Event::Lost) {
            self.exact(at, Cause::Upstream);
        }
        let closed = view.entries.iter().find_map(|(at, event)| match event {
            Event::Closed(code) => Some((*at, *code)),
            _ => None,
        });
        if let Some((at, code)) = closed {
            self.exact(at, Cause::UpstreamEnded(code));
        }
        self.too_fast();
        self.too_long(begins);
        self.resumed(begins);
        self.watch(begins);
        self.silence(begins);
        self.unfinished(begins, next_item);
        self.stall();
        self.upstream_stalls(begins);
        let ingest = view.is_ingest();
        let end = self.next_item(next_item, |meaning| match meaning {
            Meaning::Text(Text::Finalize) if ingest => Some(Cause::Finalized),
            Meaning::Text(Text::Done) if ingest => Some(Cause::Done),
            other => client_ends(other),
        });
        let ended = end
            .is_some_and(|(index, cause)| self.client_item(index, cause, begins, view.is_free()));
        if !ended {
            self.transport_ends(begins);
        }
        self.completes();
    }

    fn next_item<T>(&self, from: usize, f: impl Fn(&Meaning) -> Option<T>) -> Option<(usize, T)> {
        let mut later = self.view.items.iter().enumerate().skip(from);
        later.find_map(|(index, (_, item))| Some((index, f(&item.meaning)?)))
    }

    /// Notes an end that the client asked for or brought about, and says
    /// whether the host must have seen it.
    fn client_item(&mut self, index: usize, cause: Cause, begins: u64, exact: bool) -> bool {
        let (place, item) = self.view.items[index];
        let Some(earliest) = self.view.read_at(place + item.earliest) else {
            return false;
        };
        let latest = self.view.read_at(place + item.latest);
        let due = latest.filter(|_| exact).map_or(NEVER, |at| at.max(begins));
        self.candidates.push((earliest.max(begins), due, cause));
        latest.is_some()
    }

    fn transport_ends(&mut self, begins: u64) {
        let is = |event: &Event| matches!(event, Event::ReadEnd | Event::ReadFailed);
        if let Some(at) = self.view.first(is) {
            self.exact(at.max(begins), Cause::Gone);
        }
    }
}

fn client_ends(meaning: &Meaning) -> Option<Cause> {
    match meaning {
        Meaning::Close(close) => Some(Cause::ClientClosed(close.clone())),
        Meaning::Violation(code) => Some(Cause::Violation(*code)),
        _ => None,
    }
}
