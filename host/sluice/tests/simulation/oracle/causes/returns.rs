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
            Leads::Perhaps => self.candidates.push((at, NEVER, Cause::ResumeRefused)),
            Leads::Nowhere => self.exact(at, Cause::ResumeRefused),
        }
        leads(self.view, self.view.presents(), at) != Leads::Nowhere
    }

    /// In the place of opening an upstream.
    pub fn goes_on(&mut self, begins: u64, next_item: usize) {
        let view = self.view;
        if !view.is_owner() {
            return self.exact(begins, Cause::ResumeRefused);
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
                    self.candidates
                        .push((begins.max(entry.at), NEVER, Cause::ResumeRefused));
                }
                Event::Sealed(_) => {
                    self.candidates
                        .push((begins.max(entry.at), NEVER, Cause::Remembered));
                }
                Event::Away(Gone::Sealing(_) | Gone::Panicked) => {
                    self.exact(begins.max(entry.at), Cause::ResumeRefused);
                }
                Event::Panicked => {
                    self.candidates
                        .push((begins.max(entry.at), NEVER, Cause::ResumeRefused));
                }
                // The latest that came back has it.
                Event::Takes if entry.connection != view.me => {
                    self.candidates
                        .push((begins.max(entry.at), NEVER, Cause::ResumeRefused));
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
