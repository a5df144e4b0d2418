//! Signals that the gateway handles, and signals that must not end it.
//!
//! | signal | what it does |
//! | --- | --- |
//! | SIGTERM, SIGINT, SIGQUIT | the first drains, the second ends the process at once ([`super::stop`]) |
//! | SIGHUP | reloads |
//! | SIGUSR1 | opens the decision record again |
//! | SIGUSR2, SIGALRM | nothing: the log says what the others do |
//! | SIGXFSZ | nothing: the write that was too much fails, and its stream ends |
//! | SIGPIPE | nothing: Rust's runtime ignores it before `main` |

use anyhow::Context as _;
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Handles a signal, which no longer ends the process.
///
/// # Errors
/// If the machine refuses the handler.
pub(super) fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("signals cannot be received")
}

/// Handles signals without a meaning for the gateway, so that they do not end it.
///
/// # Errors
/// As [`listen`].
pub(super) fn survive() -> anyhow::Result<()> {
    // A file that reaches the limit of the process (ulimit -f) makes its write fail, and the writer
    // handles that. A handler stays for the rest of the process.
    drop(listen(SignalKind::from_raw(Number::XFSZ.as_raw()))?);
    for (name, kind) in [
        ("SIGUSR2", SignalKind::user_defined2()),
        ("SIGALRM", SignalKind::alarm()),
    ] {
        tokio::spawn(say_what_there_is(name, listen(kind)?));
    }
    Ok(())
}

async fn say_what_there_is(name: &'static str, mut received: Signal) {
    while received.recv().await.is_some() {
        tracing::warn!(
            "the gateway ignores {name}: SIGHUP reloads, SIGUSR1 opens the decision record \
             again, SIGTERM, SIGINT and SIGQUIT stop"
        );
    }
}
