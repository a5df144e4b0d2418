//! Log lines: which are written, and where.
//!
//! Serving never waits for a log. A log line goes into a bounded queue, and a separate thread
//! writes the queue to standard error (`writer`). Repeated lines of one kind are left out and
//! counted (`sampler`).

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use self::json::{Line, Members};
use self::sampler::{Sampled, Sampler};
use self::writer::LineWriter;
use base::metrics;
use base::text;

mod json;
pub mod patience;
mod sampler;
mod writer;

/// Time at the end of the process for writing the last lines.
const LAST: Duration = Duration::from_secs(1);

/// Log output of this process. Writes the last lines when dropped.
#[must_use]
pub struct Logs {
    lines: LineWriter,
    sampler: Arc<Sampler>,
    form: LogForm,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// Text, for people on a terminal.
    Text,
    /// JSON, for programs.
    Json,
}

/// Starts to write log lines to standard error: as text on a terminal, and otherwise as JSON.
/// `RUST_LOG` sets the level; the default is `info`.
///
/// # Errors
/// If the machine lacks a thread or a file descriptor.
pub fn init() -> anyhow::Result<Logs> {
    let wanted = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let sampler = Arc::new(Sampler::default());
    let lines = writer::start(Arc::clone(&sampler)).context("log lines cannot be written")?;
    let writer = lines.clone();
    let form = match std::io::stderr().is_terminal() {
        true => LogForm::Text,
        false => LogForm::Json,
    };
    let layer = fmt::layer()
        // Errors of the logger would block on standard error themselves.
        .log_internal_errors(false);
    let layer = match form {
        LogForm::Text => {
            let layer = layer.with_target(false);
            layer.with_writer(move || writer.clone()).boxed()
        }
        LogForm::Json => layer
            .fmt_fields(Members)
            .event_format(Line)
            .with_writer(move || writer.clone())
            .boxed(),
    };
    // Without the hint, detailed lines of libraries would be formatted for each frame and then
    // discarded.
    let most = wanted.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let may_be_written = filter_fn(may_be_written).with_max_level_hint(most);
    let layer = Sampled {
        sampler: Arc::clone(&sampler),
        layer,
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(wanted).with_filter(may_be_written))
        .init();
    Ok(Logs {
        lines,
        sampler,
        form,
    })
}

impl Logs {
    /// Form of the lines.
    #[must_use]
    pub fn form(&self) -> LogForm {
        self.form
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.sampler.tell();
        // Lines that are not written by then are lost.
        self.lines.flush(LAST);
    }
}

/// Logs each caught panic, with a backtrace, and counts it.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        metrics::panicked();
        let message = text::clean(panic.payload_as_str().unwrap_or("no message"), 1024);
        let at = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let backtrace = std::backtrace::Backtrace::force_capture();
        tracing::error!(at, %backtrace, "panic: {message}");
    }));
}

/// Whether a line may be written. At detailed levels libraries log requests, headers and frames,
/// which contain tokens. So only this crate's own lines are written in detail, whatever `RUST_LOG`
/// says.
fn may_be_written(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("sluice") || *metadata.level() <= Level::WARN
}
