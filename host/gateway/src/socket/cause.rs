//! Cause of a connection's end. Only the close stage decides what the peer is told about it.

use std::sync::Arc;

use crate::parking::pace::StreamLimit;
use base::permits::NoMemory;
use base::rejection::Rejection;
use policy::Unanswered;
use session::rate_limit::TooMany;
use session::registry::Notice;
use upstream::{Lost, OpenError, TakenOver};
use wire::frame::{PeerClose, ReadError, Violation};

/// Cause of a connection's end.
#[derive(Debug)]
pub enum Cause {
    /// The client said `finalize`.
    Finalized,
    /// The client said `close`.
    ClientDone,
    /// The client sent a Close.
    ClientClosed(Option<PeerClose>),
    /// No route has this path.
    NotFound,
    /// The first message was no handshake, or contradicts the URL.
    HandshakeInvalid(String),
    /// No handshake came in time.
    HandshakeTimeout,
    /// A policy said no.
    Denied(Rejection),
    /// A policy broke, and fails closed.
    PolicyFailed {
        /// Which one, if it is known.
        policy: Option<Arc<str>>,
        /// For the operator.
        detail: String,
    },
    /// The keys to check the token could not be had.
    AuthUnavailable,
    /// A service that a policy asks gave no answer.
    ServiceUnavailable(Unanswered),
    /// It is not known now who holds what a policy claimed, for this reason.
    ClaimsUnknown(String),
    /// The connection that this one takes over from did not end in time.
    PredecessorStays,
    /// The upstream could not be opened.
    UpstreamClosed(OpenError),
    /// The upstream did not open in time.
    UpstreamSlow,
    /// The upstream took nothing for too long.
    UpstreamStalled,
    /// The upstream closed the stream.
    UpstreamEnded(PeerClose),
    /// The upstream was lost.
    UpstreamLost(Lost),
    /// Another connection took over.
    Evicted(Rejection),
    /// An operator ends the session, for this reason.
    EndedByOperator(String),
    /// Nothing was received for too long.
    Idle,
    /// There is no stream to go on with.
    ResumeRefused,
    /// The client came back over another connection.
    Resumed,
    /// Another gateway goes on with the stream.
    TakenOver,
    /// The stream went past a limit of its route.
    StreamLimit(StreamLimit),
    /// What admitted the connection ran out.
    TokenExpired,
    /// The gateway is shutting down.
    Draining,
    /// The gateway has all the connections that it can have.
    Overloaded,
    /// The client's address, user or tenant has all the connections that it can
    /// have.
    ShareUsedUp,
    /// The connection would make the gateway hold too much memory.
    NoMemory(NoMemory),
    /// The same client tries too often.
    RateLimited(TooMany),
    /// A web page that may not connect.
    OriginDenied,
    /// A bug of ours.
    Internal,
    /// The client broke the protocol.
    Violation(Violation),
    /// The client does not read what it is sent.
    Stalled,
    /// The transport ended without a Close.
    Eof,
    /// The transport broke.
    Gone(std::io::Error),
}

impl From<Notice> for Cause {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Superseded(told) => Self::Evicted(told),
            Notice::EndedByOperator(reason) => Self::EndedByOperator(reason),
        }
    }
}

impl From<Lost> for Cause {
    fn from(lost: Lost) -> Self {
        match lost.detail.is::<TakenOver>() {
            true => Self::TakenOver,
            false => Self::UpstreamLost(lost),
        }
    }
}

impl From<NoMemory> for Cause {
    fn from(refused: NoMemory) -> Self {
        Self::NoMemory(refused)
    }
}

impl From<ReadError> for Cause {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Violation(violation) => Self::Violation(violation),
            ReadError::Eof => Self::Eof,
            ReadError::Io(error) => Self::Gone(error),
        }
    }
}
