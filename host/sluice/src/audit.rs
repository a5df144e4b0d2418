//! Audit log: one line for each change that somebody made by way of the admin listener.

use std::net::SocketAddr;

use base::text;

/// Target of its lines in the log. They are never left out.
pub(crate) const TARGET: &str = "sluice::audit";

/// Maximum length of a reason and of a result, in bytes.
const MAX_TEXT: usize = 256;
/// Maximum length of what was changed, in bytes: longer than any id or path, whose end may be all
/// that tells it from another.
const MAX_TO: usize = 4096;

/// Change that somebody made.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    /// Address of whoever asked for it.
    pub(crate) by: SocketAddr,
    /// What was done.
    pub(crate) action: &'static str,
    /// To what: `session ID`, `user ID`, `tenant ID`.
    pub(crate) to: &'a str,
    /// Why, as whoever asked for it says.
    pub(crate) reason: &'a str,
    /// What came of it.
    pub(crate) result: &'a str,
}

impl Change<'_> {
    /// Writes the line.
    pub(crate) fn log(&self) {
        self.write(None);
    }

    /// Writes the line of a change that was asked for at another gateway.
    pub(crate) fn log_from(&self, gateway: &str) {
        self.write(Some(gateway));
    }

    fn write(&self, gateway: Option<&str>) {
        tracing::info!(
            target: TARGET,
            by = %self.by,
            gateway = gateway.map(|gateway| text::clean(gateway, MAX_TEXT)),
            action = self.action,
            to = text::clean(self.to, MAX_TO),
            reason = text::clean(self.reason, MAX_TEXT),
            result = text::clean(self.result, MAX_TEXT),
            "changed by way of the admin listener"
        );
    }
}
