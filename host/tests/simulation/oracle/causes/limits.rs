//! What a route allows a stream, through all of its connections.

use super::super::super::trace::{Event, Taken};
use super::{Cause, Walk};

/// Bytes that last a millisecond, in every handshake that is valid.
const RATE: u64 = 32;

impl Walk<'_> {
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
