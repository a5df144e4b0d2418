//! What the policies that watch a stream are asked, and when.

use super::super::super::trace::{Event, Stage};
use super::Walk;

/// In milliseconds.
const WINDOW: u64 = 5_000;

impl Walk<'_> {
    /// One question a window, the next never before the last is answered.
    pub fn watch(&mut self, begins: u64) {
        let mut due = begins + WINDOW;
        for index in 0.. {
            let view = self.view;
            let asked = Event::Asked(Stage::Frames, index);
            if view.first(|event| *event == asked) != Some(due) {
                return self.missing.push((due, "a question about a window"));
            }
            let answered = view.entries.iter().find_map(|(at, event)| match event {
                Event::Answered(Stage::Frames, i, act) if *i == index => Some((*at, *act)),
                _ => None,
            });
            let Some((at, act)) = answered else {
                return;
            };
            self.acts(at, act);
            due = at.max(due + WINDOW);
        }
    }
}
