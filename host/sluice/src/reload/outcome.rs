//! Cause and result of a reload, and its log line.

use std::time::Duration;

use base::diagnostics::Diagnostics;
use config::OptionsDiff;

/// Cause of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// Signal SIGHUP.
    Signal,
    /// Request `POST /reload` on the admin listener.
    Request,
    /// Change of a file, of which the system told.
    File,
    /// Change of a file that no event told of, found when the gateway looked.
    Poll,
}

impl Trigger {
    /// Name of the cause in the log.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Request => "request",
            Self::File => "file",
            Self::Poll => "poll",
        }
    }
}

/// Successful reload.
#[derive(Debug)]
pub struct Reloaded {
    /// Number of the new generation.
    pub generation: u64,
    /// Options that changed and take effect only after a restart.
    pub needs_restart: Vec<&'static str>,
    /// Options that differ from those of the generation before.
    pub(super) diff: OptionsDiff,
}

/// Reason why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The new configuration has mistakes.
    #[error("{0}")]
    Mistakes(Diagnostics),
    /// A bug of the gateway made the reload panic.
    #[error("the configuration could not be read: {0}")]
    Panicked(tokio::task::JoinError),
}

/// Logs the result of a reload.
pub(super) fn log(trigger: Trigger, took: Duration, result: &Result<Reloaded, ReloadError>) {
    let trigger = trigger.word();
    match result {
        Ok(Reloaded {
            generation,
            needs_restart,
            ..
        }) => {
            tracing::info!(trigger, generation, ?took, "reloaded");
            if !needs_restart.is_empty() {
                let options = needs_restart.join(", ");
                tracing::warn!(options, "these options changed, and need a restart");
            }
        }
        Err(error) => {
            tracing::error!(trigger, ?took, "not reloaded, nothing has changed: {error}");
        }
    }
}
