//! Services that the gateway asks for the policy: who may stream, which plan a user has.
//!
//! A policy has no network. Before a decision the gateway calls [`Prepare`](crate::Prepare), and
//! the policy says what is to be asked. The gateway asks it with the operator's own address,
//! headers, deadline and cache. Then the decision gets the answers. A policy needs the grant
//! `destinations`, and the operator names those that it may ask.
//!
//! ```
//! use sluice_policy::destinations::{self, Request};
//! use sluice_policy::{Connection, Decision, Handshake, OnConnect, Prepare, Rejection};
//!
//! struct Entitled;
//!
//! impl Prepare for Entitled {
//!     fn requests(connection: &Connection, _: Option<&Handshake>) -> Vec<Request> {
//!         let user = connection.attribute("auth.user_id").unwrap_or_default();
//!         vec![Request::to("entitlements").param("user", &user)]
//!     }
//! }
//!
//! impl OnConnect for Entitled {
//!     fn decide(_: &Connection) -> Decision {
//!         match destinations::answer(0)?.status() {
//!             200 => Ok(()),
//!             _ => Err(Rejection::new("not_entitled", "you may not stream").close_code(4100)),
//!         }
//!     }
//! }
//!
//! # use sluice_policy::testing::Mock;
//! let mock = Mock::new("entitled");
//! mock.attribute("auth.user_id", "ann").answer(200, "{}");
//! assert_eq!(Entitled::decide(&mock.connection()), Ok(()));
//! ```
//!
//! What it means that a service gives no answer is the operator's word. With
//! `on_failure = "refuse"`, the default, the gateway refuses the client itself, and the policy is
//! not asked. With `"answer"` the policy gets an [`AnswerError`].

use std::fmt;

use serde::de::DeserializeOwned;

use crate::host::destinations;
use crate::{Rejection, json};

/// Request to a service. A policy may make 4 for a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    destination: String,
    params: Vec<(String, String)>,
    query: Vec<(String, String)>,
    body: Option<String>,
}

impl Request {
    /// Request to the destination of this name in the gateway's configuration.
    pub fn to(destination: &str) -> Self {
        Self {
            destination: destination.to_owned(),
            params: Vec::new(),
            query: Vec::new(),
            body: None,
        }
    }

    /// Sets a parameter of the destination's path. The gateway encodes the value as one segment.
    #[must_use]
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a parameter to the query. The gateway encodes it.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body, a JSON text. Only a destination with `method = "POST"` takes one.
    #[must_use]
    pub fn body(mut self, json: &str) -> Self {
        self.body = Some(json.to_owned());
        self
    }
}

#[cfg(target_family = "wasm")]
impl From<Request> for destinations::Request {
    fn from(request: Request) -> Self {
        Self {
            destination: request.destination,
            params: request.params,
            query: request.query,
            body: request.body,
        }
    }
}

/// Answer of a service.
pub struct Answer(destinations::Answer);

impl Answer {
    /// Status of the answer: 200 to 299, or 400 to 499.
    pub fn status(&self) -> u16 {
        self.0.status()
    }

    /// Body of the answer.
    pub fn body(&self) -> String {
        self.0.body()
    }

    /// Parses the fields of the body that the policy needs.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, AnswerError> {
        json::parse(&self.body()).map_err(|_| AnswerError::Unfit)
    }

    /// Time since the service gave the answer, in milliseconds. It is 0 unless the gateway had the
    /// answer already.
    pub fn age_ms(&self) -> u64 {
        self.0.age_ms()
    }
}

/// Reason why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// The service did not answer in time.
    Timeout,
    /// The service cannot be reached, or it fails.
    Unavailable,
    /// The gateway makes as many requests to the service as it may.
    Busy,
    /// The answer is larger than the operator allows.
    TooLarge,
    /// The answer is a redirect or no text.
    Unusable,
    /// The request was not sent: the value of a parameter is empty, `.` or `..`, or the request is
    /// too long.
    Refused,
    /// The body of the answer is not what the policy expects.
    Unfit,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "the service did not answer in time",
            Self::Unavailable => "the service cannot be reached, or it fails",
            Self::Busy => "there are as many requests to the service as there may be",
            Self::TooLarge => "the answer of the service is too large",
            Self::Unusable => "the answer of the service is a redirect or no text",
            Self::Refused => "the service cannot be asked with these values",
            Self::Unfit => "the body of the answer is not what the policy expects",
        })
    }
}

impl std::error::Error for AnswerError {}

impl From<AnswerError> for Rejection {
    /// Refuses the connection without details. The client may try again, unless its own values were
    /// what the service could not be asked with.
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::Refused => Self::new(
                "policy_denied",
                "a value of the request cannot be looked up",
            ),
            _ => {
                Self::new("policy_unavailable", "this cannot be decided at the moment").retryable()
            }
        }
        .detail(error.to_string())
    }
}

/// Answer to a request of [`Prepare`](crate::Prepare), by its place in the list. Without such a
/// request the call ends.
pub fn answer(place: u32) -> Result<Answer, AnswerError> {
    destinations::get(place)
        .map(Answer)
        .map_err(|error| match error {
            destinations::Error::Timeout => AnswerError::Timeout,
            destinations::Error::Unavailable => AnswerError::Unavailable,
            destinations::Error::Busy => AnswerError::Busy,
            destinations::Error::TooLarge => AnswerError::TooLarge,
            destinations::Error::Unusable => AnswerError::Unusable,
            destinations::Error::Refused => AnswerError::Refused,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Mock;

    #[test]
    fn answers_come_in_the_order_of_the_requests_and_errors_among_them() {
        let mock = Mock::new("entitled");
        mock.answer(200, r#"{"plan": "gold"}"#)
            .answer(404, "")
            .no_answer(AnswerError::Timeout);
        #[derive(serde::Deserialize)]
        struct Plan {
            plan: String,
        }
        let first = answer(0).unwrap();
        assert_eq!((first.status(), first.age_ms()), (200, 0));
        assert_eq!(first.parse::<Plan>().unwrap().plan, "gold");
        let second = answer(1).unwrap();
        assert_eq!(second.status(), 404);
        assert_eq!(second.parse::<Plan>().err(), Some(AnswerError::Unfit));
        assert_eq!(answer(2).err(), Some(AnswerError::Timeout));
    }

    #[test]
    fn only_the_clients_own_values_make_a_refusal_final() {
        assert!(Rejection::from(AnswerError::Timeout).is_retryable());
        assert!(!Rejection::from(AnswerError::Refused).is_retryable());
    }
}
