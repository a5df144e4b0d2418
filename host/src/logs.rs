//! Where log lines go, and which.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::{metrics, text};

mod sampled;

pub use sampled::Sampled;

/// Writes to standard error: for people on a terminal, as JSON otherwise.
/// `RUST_LOG` chooses what, `info` is the default.
pub fn init() {
    let wanted = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    let lines = if std::io::stderr().is_terminal() {
        fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .boxed()
    } else {
        fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .boxed()
    };
    // Without the hint every line of detail that a library could say is made before it is thrown away, for each frame.
    let most = wanted.max_level_hint().unwrap_or(LevelFilter::TRACE);
    let may_be_written = filter_fn(may_be_written).with_max_level_hint(most);
    tracing_subscriber::registry()
        .with(lines.with_filter(wanted).with_filter(may_be_written))
        .init();
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
