//! Options for a lost backend.

use std::time::Duration;

use super::super::Reader;
use crate::toml::{Section, Zero};
use upstream::websocket::{Hold, OnLoss, Promise, Replay};

const REPLAYS: [(&str, Replay); 2] = [
    ("at-least-once", Replay::AtLeastOnce),
    ("at-most-once", Replay::AtMostOnce),
];
/// Effect of a lost backend on its streams.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    Fails,
    IsHeld,
}
const LOSSES: [(&str, Loss); 2] = [("fail", Loss::Fails), ("hold", Loss::IsHeld)];
/// Options of held streams.
const OF_HOLD: [&str; 5] = [
    "replay",
    "hold_timeout",
    "hold_memory",
    "hold_file",
    "hold_files",
];

impl Reader<'_> {
    /// Reads the options for a lost backend. What it gets when it comes back must be known
    /// beforehand, because it may get something twice or never.
    pub(super) fn on_loss(&mut self, section: &mut Section<'_>, receipts: Promise) -> OnLoss {
        let on_loss = section.choice("on_loss", &LOSSES);
        let place = on_loss.as_ref().map(|choice| choice.place.clone());
        if on_loss.is_none_or(|choice| choice.value == Loss::Fails) {
            for option in OF_HOLD {
                if let Some(place) = section.take_out(option) {
                    let message = format!("`{option}` is for streams that are held");
                    let help = "leave it out, or write `on_loss = \"hold\"`";
                    self.error(&place, message, help).label("no meaning here");
                }
            }
            return OnLoss::Fail;
        }
        let replay = section.choice("replay", &REPLAYS);
        let replay = match (receipts, replay) {
            (Promise::Confirmed, None) => Replay::Confirmed,
            (Promise::Confirmed, Some(replay)) => {
                let message = "`replay` is for backends that confirm nothing";
                let help = "leave it out: with `receipts = \"confirmed\"` a stream goes on behind \
                            what was confirmed";
                self.error(&replay.place, message, help)
                    .label("no meaning here");
                Replay::Confirmed
            }
            (_, Some(replay)) => replay.value,
            (_, None) => {
                let message = "`replay` is missing, and this backend does not confirm what it has";
                let help = "write `replay = \"at-least-once\"` (it may get something twice), \
                            `replay = \"at-most-once\"` (it may miss something), or \
                            `receipts = \"confirmed\"` if it confirms";
                self.error(
                    &place.unwrap_or_else(|| section.place.clone()),
                    message,
                    help,
                )
                .label("a stream is held here");
                Replay::AtMostOnce
            }
        };
        let timeout = Duration::from_secs(30);
        OnLoss::Hold(Hold {
            replay,
            timeout: section.duration("hold_timeout", timeout, Zero::Refused),
            memory: section.memory("hold_memory", 256 * 1024),
            file: section.size_or_none("hold_file", 16 * 1024 * 1024),
            files: section.size("hold_files", 10 * 1024 * 1024 * 1024),
        })
    }
}
