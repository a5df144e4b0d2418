//! Where log lines go, and which.
//!
//! Serving never waits for a log. Whoever logs puts its line into a bounded queue, and a thread of
//! its own writes the queue to standard error ([`writer`]). Lines of one kind that come too often
//! are left out and counted ([`sampler`]).

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

use self::sampler::{Sampled, Sampler};
use self::writer::Lines;
use base::metrics;
use base::text;

pub mod patience;
mod sampler;
mod writer;

/// How long the end of the process waits until the last lines are written.
const LAST: Duration = Duration::from_secs(1);

/// The logs of this process, for as long as it lives. Writes the last lines when dropped.
#[must_use]
pub struct Logs {
    lines: Lines,
    sampler: Arc<Sampler>,
}

/// Writes to standard error: for people on a terminal, as JSON otherwise.
/// `RUST_LOG` chooses what, `info` is the default.
///
/// # Errors
/// Where the machine does not give a thread or a file descriptor.
pub fn init() -> anyhow::Result<Logs> {
    let wanted = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let sampler = Arc::new(Sampler::default());
    let lines = writer::start(Arc::clone(&sampler)).context("log lines cannot be written")?;
    let (writer, is_terminal) = (lines.clone(), std::io::stderr().is_terminal());
    let layer = fmt::layer()
        .with_writer(move || writer.clone())
        // It would tell standard error itself, and wait for it.
        .log_internal_errors(false);
    let layer = if is_terminal {
        layer.with_target(false).boxed()
    } else {
        layer
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed()
    };
    // Without the hint every line of detail that a library could say is made before it is thrown away, for each frame.
    let most = wanted.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let may_be_written = filter_fn(may_be_written).with_max_level_hint(most);
    let layer = Sampled {
        sampler: Arc::clone(&sampler),
        layer,
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(wanted).with_filter(may_be_written))
        .init();
    Ok(Logs { lines, sampler })
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.sampler.tell();
        // Lines that standard error does not take by then are lost with the process.
        self.lines.flush(LAST);
    }
}

/// A panic that is survived is a line like any other, with a backtrace, and
/// is counted.
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

/// Libraries log requests, headers and frames when they are asked for detail.
/// There are tokens in these, so only what this crate says is ever written in
/// detail, whatever `RUST_LOG` asks for.
fn may_be_written(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("sluice") || *metadata.level() <= Level::WARN
}
