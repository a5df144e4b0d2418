//! What only a client is to be blamed for.
//!
//! A call of a policy can end without an answer for two reasons, which are different types. A
//! `Failure` is the policy's: it counts toward quarantine. A [`ClientFault`] is
//! the client's: what it sent is larger than the gateway lets a policy hand on. It refuses that
//! connection, whatever the policy's `on_failure` says, and counts for nothing.
//!
//! A failure can depend on the client's input as well: a guest that panics on a header, or runs
//! out of memory on a message. No gateway can tell that from the outside, so failures are counted
//! by client. See [`Client`](session::registry::Client) for how clients are told apart.

use base::rejection::Rejection;

/// What of a client's input was too much for a policy to hand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientFault {
    /// The bound that was passed.
    pub excess: Excess,
    /// The part of the input that was decided about.
    pub sent: Sent,
}

/// A bound on what a policy hands to the gateway, where that was made of the client's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// Bytes of an attribute: `max_attribute`, or the gateway's own bound.
    #[error("an attribute made of the client's input is too long")]
    AttributeBytes,
    /// Attributes of a connection.
    #[error("the client's input would leave too many attributes")]
    Attributes,
    /// Bytes of the key of an exclusive claim.
    #[error("a claim's key made of the client's input is too long")]
    ClaimBytes,
    /// Exclusive claims of a connection.
    #[error("the client's input would make too many claims")]
    Claims,
    /// Bytes of the key of a counter.
    #[error("a counter's key made of the client's input is too long")]
    CounterBytes,
    /// Bytes that one call to the gateway copies: `hostcall_fuel`.
    #[error("the policy handed on too much of the client's input at once")]
    Copied,
}

/// The part of a client's input that a policy was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The upgrade request, its token included.
    Request,
    /// The handshake message.
    Handshake,
    /// The stream.
    Stream,
}

impl ClientFault {
    /// What the client is told: 4000 about a handshake, 4005 about anything else.
    #[must_use]
    pub fn rejection(&self) -> Rejection {
        let what = match self.sent {
            Sent::Request => "the request",
            Sent::Handshake => "the handshake",
            Sent::Stream => "the stream",
        };
        let message = match self.excess {
            Excess::Attributes | Excess::Claims => format!("{what} has too many values"),
            Excess::AttributeBytes | Excess::ClaimBytes | Excess::CounterBytes | Excess::Copied => {
                format!("{what} has a value that is too long")
            }
        };
        match self.sent {
            Sent::Handshake => Rejection::new(4000, "handshake_invalid", &message),
            Sent::Request | Sent::Stream => Rejection::new(4005, "policy_denied", &message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_in_which_part_of_its_input_what_is_too_much() {
        let fault = |excess, sent| ClientFault { excess, sent }.rejection();
        let handshake = fault(Excess::Copied, Sent::Handshake);
        assert_eq!(
            (handshake.close_code, handshake.code.as_str()),
            (4000, "handshake_invalid")
        );
        assert_eq!(
            handshake.message,
            "the handshake has a value that is too long"
        );
        let request = fault(Excess::Claims, Sent::Request);
        assert_eq!(request.close_code, 4005);
        assert_eq!(request.message, "the request has too many values");
        assert!(!request.retryable);
    }
}
