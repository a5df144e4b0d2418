//! The traits that a policy implements, joined to the generated ones.

use crate::bindings::imports::sluice::policy::{connection::Facts, endings, frames, types};
use crate::bindings::{lifecycle, on_close, on_connect, on_frames, on_handshake};
use crate::{ConfigError, Connection, Ending, Handshake, Rejection, Window, log};

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

impl<P: OnConnect> on_connect::exports::sluice::policy::on_connect::Guest for P {
    fn decide(facts: &Facts) -> types::Decision {
        answer(P::decide(&Connection::new(facts)))
    }
}

impl<P: OnHandshake> on_handshake::exports::sluice::policy::on_handshake::Guest for P {
    fn decide(facts: &Facts, handshake: String) -> types::Decision {
        answer(P::decide(
            &Connection::new(facts),
            &Handshake::new(&handshake),
        ))
    }
}

impl<P: OnFrames> on_frames::exports::sluice::policy::on_frames::Guest for P {
    fn decide(facts: &Facts, window: &frames::Window) -> types::Decision {
        answer(P::decide(&Connection::new(facts), &Window::new(window)))
    }
}

impl<P: OnClose> on_close::exports::sluice::policy::on_close::Guest for P {
    fn closed(facts: &Facts, ending: &endings::Ending) {
        P::closed(&Connection::new(facts), &Ending::new(ending));
    }
}

impl<P: Lifecycle> lifecycle::exports::sluice::policy::lifecycle::Guest for P {
    fn validate_config() -> Result<(), String> {
        P::validate_config().map_err(|error| error.to_string())
    }
}

/// What the log is told is told here, so that making a refusal has no effect
/// of its own and a native test can make one.
fn answer(decision: Decision) -> types::Decision {
    match decision {
        Ok(()) => types::Decision::Accept,
        Err(mut rejection) => {
            if let Some(detail) = rejection.take_detail() {
                log::warn(&detail);
            }
            types::Decision::Reject(rejection.into())
        }
    }
}
