//! What a route allows a stream, through all of its connections.

use super::super::super::trace::{Event, Taken};
use super::super::view::View;
use super::timers::WRITE;
use super::{Cause, NEVER, Walk};

/// Bytes that last a millisecond, in every handshake that is valid.
const RATE: u64 = 32;

/// Until when a stream that its client completed waits for its upstream.
pub fn completion(view: &View<'_>) -> Option<u64> {
    let begins = view.first(|event| *event == Event::Completing)?;
    let done = view.first(|event| *event == Event::Completed);
    let broke = view.all(|event| *event == Event::WriteFailed);
    let broke = broke.filter(|at| *at >= begins).min();
    [done, broke, Some(begins + WRITE)]
        .into_iter()
        .flatten()
        .min()
}

impl Walk<'_> {
    /// A stream whose client completed it ends when its upstream has said so, or
    /// was waited for long enough; the deadlines of streams do not run any more,
    /// and who does not read, or is gone, does not matter.
    pub fn completes(&mut self) {
        let view = self.view;
        let Some(begins) = view.first(|event| *event == Event::Completing) else {
            return;
        };
        let ends = completion(view).unwrap_or(begins);
        for (earliest, latest, cause) in &mut self.candidates {
            match cause {
                Cause::Finalized | Cause::Done if *earliest <= begins => *latest = ends,
                Cause::Draining
                | Cause::Evicted
                | Cause::Internal
                | Cause::Upstream
                | Cause::UpstreamEnded(_) => {}
                // Nobody comes back for a stream that is being completed.
                Cause::Resumed => (*earliest, *latest) = (NEVER, NEVER),
                _ if *earliest >= begins => (*earliest, *latest) = (NEVER, NEVER),
                _ => {}
            }
        }
        self.candidates.retain(|(earliest, ..)| *earliest < NEVER);
    }

    /// Audio that is too far ahead is taken, and then ends the stream.
    pub fn too_fast(&mut self) {
        let view = self.view;
        let Some(ahead) = view.schedule.bounds.max_ahead.filter(|_| view.is_ingest()) else {
            return;
        };
        let (mut began, mut bytes) = (0, 0);
        for entry in view.stream() {
            match &entry.event {
                Event::Opened => began = entry.at,
                Event::Took(Taken::Binary(payload)) => {
                    bytes += payload.0.len() as u64;
                    let too_fast = bytes / RATE > entry.at - began + ahead;
                    if too_fast && entry.connection == view.me {
                        return self.exact(entry.at, Cause::TooFast);
                    }
                }
                _ => {}
            }
        }
    }

    pub fn too_long(&mut self, begins: u64) {
        let view = self.view;
        let opened = view.stream().find(|it| it.event == Event::Opened);
        if let (Some(longest), Some(opened)) = (view.schedule.bounds.max_duration, opened) {
            self.exact(begins.max(opened.at + longest), Cause::TooLong);
        }
    }
}
