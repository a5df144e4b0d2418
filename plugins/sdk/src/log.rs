//! Lines in the gateway's log. The gateway escapes them, limits their number and length, and adds
//! the names of the policy and the connection.

use crate::host::log::{Level, write};

/// Logs details for the policy's author.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Logs an event.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Logs something that an operator may want to change.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Logs something that an operator must change.
pub fn error(message: &str) {
    write(Level::Error, message);
}
