//! What a policy says before it crashes.
//!
//! A panic ends the call, and all that the gateway sees of it is a trap. So it is told first, by a
//! line of the log that says where it happened and why; the gateway puts that into its own account
//! of the crash. Clients are told nothing of it.

use crate::log;

/// Has a panic of this call say why. An instance lives for one call, so each call begins with this.
pub fn say_why() {
    std::panic::set_hook(Box::new(|panic| {
        let why = panic.payload_as_str().unwrap_or("with no message");
        match panic.location() {
            Some(place) => {
                let (file, line) = (place.file(), place.line());
                log::error(&format!("panicked at {file}:{line}: {why}"));
            }
            None => log::error(&format!("panicked: {why}")),
        }
    }));
}
