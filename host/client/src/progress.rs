//! Progress output.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::audio::Audio;

/// Amount of audio between two lines, if no progress bar can be drawn.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Kind of progress output.
pub enum Progress {
    /// Progress bar on a terminal.
    Bar(ProgressBar),
    /// Occasional lines on stderr.
    Lines,
    /// None.
    Silent,
}

impl Progress {
    /// Kind that suits the program's stderr.
    #[must_use]
    pub(crate) fn on_terminal() -> Self {
        if stderr().is_terminal() {
            // It is drawn once there is progress to show.
            Self::Bar(ProgressBar::with_draw_target(
                None,
                ProgressDrawTarget::hidden(),
            ))
        } else {
            Self::Lines
        }
    }

    /// Shows that the gateway accepted or resumed the stream.
    pub(super) fn ready(&mut self, session_id: &str, audio: &Audio) {
        match self {
            Self::Silent => return,
            Self::Lines => {}
            Self::Bar(bar) if bar.is_hidden() => {
                *bar = match audio.total_bytes() {
                    Some(bytes) => ProgressBar::new(bytes).with_style(bar_style()),
                    None => ProgressBar::no_length().with_style(count_style()),
                };
            }
            Self::Bar(_) => {}
        }
        self.beside(|| println!("session {session_id}"));
    }

    /// Shows an event to the user.
    pub(super) fn note(&self, text: &str) {
        if !matches!(self, Self::Silent) {
            self.beside(|| eprintln!("{text}"));
        }
    }

    /// Prints lines so that the bar does not overwrite them.
    fn beside(&self, print: impl FnOnce()) {
        match self {
            Self::Bar(bar) => bar.suspend(print),
            Self::Lines | Self::Silent => print(),
        }
    }

    /// Shows how much of the recording is safe.
    pub(super) fn acked(&self, acked: u64) {
        if let Self::Bar(bar) = self {
            bar.set_message(format!(", {} safe", HumanBytes(acked)));
        }
    }

    /// Shows that `sent` bytes were sent, with the last chunk.
    pub(super) fn sent(&self, sent: u64, chunk: u64, audio: &Audio) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => bar.set_position(sent),
            Self::Lines => {
                let step = (audio.bytes_per_second() * BETWEEN_LINES.as_secs()).max(1);
                if sent / step != (sent - chunk) / step {
                    let seconds = |bytes: u64| bytes / audio.bytes_per_second().max(1);
                    match audio.total_bytes() {
                        Some(total) => eprintln!("sent {} of {} s", seconds(sent), seconds(total)),
                        None => eprintln!("sent {} s", seconds(sent)),
                    }
                }
            }
        }
    }

    /// Ends the output.
    pub(super) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.abandon();
        }
    }
}

fn bar_style() -> ProgressStyle {
    style("{elapsed_precise} {wide_bar} {percent:>3} %  {bytes} of {total_bytes}{msg}")
}

/// Style for a recording of unknown length.
fn count_style() -> ProgressStyle {
    style("{elapsed_precise} {spinner} {bytes}{msg}")
}

fn style(template: &'static str) -> ProgressStyle {
    // The templates are constants and valid, and the default style shows as much.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
