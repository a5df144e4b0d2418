//! The traits that a policy implements.

use crate::{ConfigError, Connection, Ending, Handshake, Rejection, Window};

#[cfg(target_family = "wasm")]
mod joined;

/// What a policy answers. `?` works on every refusal, and on the errors of
/// [`Config`](crate::Config) and [`Connection::verify_token`], which have
/// refusals of their own.
pub type Decision = Result<(), Rejection>;

/// A policy that is asked after the upgrade.
pub trait OnConnect {
    /// Accepts the connection or refuses it.
    fn decide(connection: &Connection) -> Decision;
}

/// A policy that is asked about the client's handshake.
pub trait OnHandshake {
    /// Accepts the handshake or refuses the connection.
    fn decide(connection: &Connection, handshake: &Handshake) -> Decision;
}

/// A policy that is asked about a stream, once for each window of time.
///
/// Each call is a fresh instance: what is to be known in the next one belongs
/// into the [`counters`](crate::counters).
pub trait OnFrames {
    /// Lets the stream go on, or ends it.
    fn decide(connection: &Connection, window: &Window) -> Decision;
}

/// A policy that is told how a connection ended, admitted or not.
pub trait OnClose {
    /// The connection has ended. Nothing can be done about it any more.
    fn closed(connection: &Connection, ending: &Ending);
}

/// A policy that checks its configuration when it is loaded.
pub trait Lifecycle {
    /// Says what is wrong with the configuration, if anything.
    fn validate_config() -> Result<(), ConfigError>;
}
