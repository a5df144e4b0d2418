//! Panic messages of a policy.
//!
//! A panic ends the call, and the gateway only sees a trap. So the panic hook first logs where and
//! why it happened, and the gateway includes that in its own report of the crash. Clients do not
//! see it.

use crate::log;

/// Installs the panic hook. Each call begins with this, because an instance lives for one call.
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
