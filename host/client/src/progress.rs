//! Telling the user how far a stream is.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::audio::Audio;

/// How much audio there is between two lines, where no bar can be drawn.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Where progress is shown.
pub enum Progress {
    /// A bar on a terminal.
    Bar(ProgressBar),
    /// A line on stderr now and then.
    Lines,
    /// Nowhere.
    Silent,
}

impl Progress {
    /// What suits the program's stderr.
    #[must_use]
    pub(crate) fn on_terminal() -> Self {
        if stderr().is_terminal() {
            // Drawn only once there is something to show.
            Self::Bar(ProgressBar::with_draw_target(
                None,
                ProgressDrawTarget::hidden(),
            ))
        } else {
            Self::Lines
        }
    }

    /// The gateway has taken the stream, or has taken it again.
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

    /// Something happened that the user should know of.
    pub(super) fn note(&self, text: &str) {
        if !matches!(self, Self::Silent) {
            self.beside(|| eprintln!("{text}"));
        }
    }

    /// Prints lines where the bar does not overwrite them.
    fn beside(&self, print: impl FnOnce()) {
        match self {
            Self::Bar(bar) => bar.suspend(print),
            Self::Lines | Self::Silent => print(),
        }
    }

    /// So much of the recording is safe.
    pub(super) fn acked(&self, acked: u64) {
        if let Self::Bar(bar) = self {
            bar.set_message(format!(", {} safe", HumanBytes(acked)));
        }
    }

    /// `sent` bytes have gone out, the last chunk included.
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

    /// Nothing more will be sent.
    pub(super) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.abandon();
        }
    }
}

fn bar_style() -> ProgressStyle {
    style("{elapsed_precise} {wide_bar} {percent:>3} %  {bytes} of {total_bytes}{msg}")
}

/// Where nobody knows how much there is.
fn count_style() -> ProgressStyle {
    style("{elapsed_precise} {spinner} {bytes}{msg}")
}

fn style(template: &'static str) -> ProgressStyle {
    // The templates are constants, and the default style shows as much.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
