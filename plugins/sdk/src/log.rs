//! Lines in the gateway's log. It escapes them and bounds their number and
//! their length, and says which policy and which connection they are about.

use crate::host::log::{Level, write};

/// For the policy's author.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// For the record.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Something that an operator may want to change.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something that an operator must change.
pub fn error(message: &str) {
    write(Level::Error, message);
}
