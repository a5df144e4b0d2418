//! Clients that come back for a stream, and what that does to the connection
//! that has it.

use super::super::super::trace::{Event, Gone, Stage};
use super::super::stream::{Leads, leads};
use super::super::view::View;
use super::timers::WRITE;
use super::{Cause, NEVER, Walk};

impl Walk<'_> {
    /// Whether a client that comes back may have found its stream.
    pub fn finds_its_stream(&mut self, at: u64) -> bool {
        if self.view.plan.returns.is_none() {
            return true;
        }
        match leads(self.view, self.view.presents(), at) {
            Leads::Somewhere => {}
            Leads::Perhaps => self.not_there(at, NEVER),
            Leads::Nowhere => self.not_there(at, at),
        }
        leads(self.view, self.view.presents(), at) != Leads::Nowhere
    }

    /// There is no stream to go on with. A gateway that drains has left it to the next process, and says
    /// that it stops.
    fn not_there(&mut self, earliest: u64, latest: u64) {
        let drains = self.view.schedule.drain_at.unwrap_or(NEVER);
        if earliest <= drains {
            self.candidates
                .push((earliest, latest, Cause::ResumeRefused));
        }
        if latest >= drains && drains < NEVER {
            self.candidates
                .push((earliest.max(drains), latest, Cause::Draining));
        }
    }

    /// In the place of opening an upstream.
    pub fn goes_on(&mut self, begins: u64, next_item: usize) {
        let view = self.view;
        if !view.is_owner() {
            return self.not_there(begins, begins);
        }
        let expires = begins + self.left;
        if let Some(at) = view.first(|event| *event == Event::Takes) {
            self.expires(expires, Some(at), Cause::PredecessorStays);
            return self.stream(at, next_item);
        }
        let (mut completing, mut sealing) = (None, None);
        for entry in view.stream() {
            match &entry.event {
                Event::Completing => completing = Some(entry.at),
                Event::Sealing(_) => {
                    sealing = Some(entry.at);
                    // One that cannot wait for its client is given up at once.
                    self.not_there(begins.max(entry.at), NEVER);
                }
                Event::Sealed(_) => {
                    self.candidates
                        .push((begins.max(entry.at), NEVER, Cause::Remembered));
                }
                Event::Away(Gone::Sealing(_) | Gone::Panicked) => {
                    let at = begins.max(entry.at);
                    self.not_there(at, at);
                }
                Event::Panicked => {
                    self.not_there(begins.max(entry.at), NEVER);
                }
                // The latest that came back has it.
                Event::Takes if entry.connection != view.me => {
                    self.not_there(begins.max(entry.at), NEVER);
                }
                _ => {}
            }
        }
        // Only a stream that is being completed or sealed can make its client wait.
        let waits =
            sealing.is_some_and(|at| completing.unwrap_or(at) <= expires && expires <= at + WRITE);
        if waits || expires == begins {
            self.exact(expires, Cause::PredecessorStays);
        }
    }

    /// The client is back over another connection.
    pub fn resumed(&mut self, begins: u64) {
        for other in self.view.others() {
            if other.plan.returns.is_none() || other.stream_id() != self.view.stream_id() {
                continue;
            }
            if let Some(at) = wants(&other) {
                self.candidates
                    .push((at.max(begins), NEVER, Cause::Resumed));
            }
        }
    }
}

/// When a client that is back was let in by all policies.
fn wants(view: &View<'_>) -> Option<u64> {
    let answered = |event: &Event| matches!(event, Event::Answered(Stage::Handshake, 0, _));
    view.first(answered).filter(|_| view.is_owner())
}
