//! Implementation of the generated traits for the traits of a policy.

use super::{Decision, Lifecycle, OnClose, OnConnect, OnFrames, OnHandshake, Prepare};
use crate::bindings::{lifecycle, on_close, on_connect, on_frames, on_handshake, prepare};
use crate::host::{connection::Facts, destinations, endings, frames, types};
use crate::{Connection, Ending, Handshake, Window, crash, log};

impl<P: OnConnect> on_connect::exports::sluice::policy::on_connect::Guest for P {
    fn decide(facts: &Facts) -> types::Decision {
        crash::say_why();
        answer(P::decide(&Connection::new(facts)))
    }
}

impl<P: OnHandshake> on_handshake::exports::sluice::policy::on_handshake::Guest for P {
    fn decide(facts: &Facts, handshake: String) -> types::Decision {
        crash::say_why();
        answer(P::decide(
            &Connection::new(facts),
            &Handshake::new(&handshake),
        ))
    }
}

impl<P: Prepare> prepare::exports::sluice::policy::prepare::Guest for P {
    fn requests(facts: &Facts, handshake: Option<String>) -> Vec<destinations::Request> {
        crash::say_why();
        let handshake = handshake.as_deref().map(Handshake::new);
        let requests = P::requests(&Connection::new(facts), handshake.as_ref());
        requests.into_iter().map(Into::into).collect()
    }
}

impl<P: OnFrames> on_frames::exports::sluice::policy::on_frames::Guest for P {
    fn decide(facts: &Facts, window: &frames::Window) -> types::Decision {
        crash::say_why();
        answer(P::decide(&Connection::new(facts), &Window::new(window)))
    }
}

impl<P: OnClose> on_close::exports::sluice::policy::on_close::Guest for P {
    fn closed(facts: &Facts, ending: &endings::Ending) {
        crash::say_why();
        P::closed(&Connection::new(facts), &Ending::new(ending));
    }
}

impl<P: Lifecycle> lifecycle::exports::sluice::policy::lifecycle::Guest for P {
    fn validate_config() -> Result<(), String> {
        crash::say_why();
        P::validate_config().map_err(|error| error.to_string())
    }
}

/// Converts a decision. The detail of a refusal is logged here, so that making a refusal has no
/// effect and a native test can do it.
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
