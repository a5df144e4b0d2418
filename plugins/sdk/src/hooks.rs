//! Traits that a policy implements.

use crate::destinations::Request;
use crate::{ConfigError, Connection, Ending, Handshake, Rejection, Window};

#[cfg(target_family = "wasm")]
mod joined;

/// Decision of a policy. `?` works on every refusal, and on the errors of [`Config`](crate::Config)
/// and [`Connection::verify_token`], which convert to refusals.
pub type Decision = Result<(), Rejection>;

/// Policy that is called after the upgrade.
pub trait OnConnect {
    /// Accepts the connection or refuses it.
    fn decide(connection: &Connection) -> Decision;
}

/// Policy that is called with the client's handshake.
pub trait OnHandshake {
    /// Accepts the handshake or refuses the connection.
    fn decide(connection: &Connection, handshake: &Handshake) -> Decision;
}

/// Policy that has services asked before it decides. It is called before [`OnConnect`] and before
/// [`OnHandshake`], if the policy has that hook. See [`destinations`](crate::destinations).
pub trait Prepare {
    /// Requests to make, 4 at the most. There is a handshake before [`OnHandshake`] alone.
    fn requests(connection: &Connection, handshake: Option<&Handshake>) -> Vec<Request>;
}

/// Policy that is called while a client streams, once for each window of time.
///
/// Each call is a fresh instance. A policy keeps state for the next call in
/// [`counters`](crate::counters).
pub trait OnFrames {
    /// Lets the stream continue or ends it.
    fn decide(connection: &Connection, window: &Window) -> Decision;
}

/// Policy that is told how a connection ended, admitted or not.
pub trait OnClose {
    /// The connection has ended, and the policy cannot change it any more.
    fn closed(connection: &Connection, ending: &Ending);
}

/// Policy that checks its configuration when it is loaded.
pub trait Lifecycle {
    /// Returns the first mistake in the configuration, if there is one.
    fn validate_config() -> Result<(), ConfigError>;
}
