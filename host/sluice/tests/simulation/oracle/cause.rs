//! The reasons for which a connection may end.

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    Overloaded,
    RateLimited,
    OriginDenied,
    NotFound,
    HandshakeInvalid,
    HandshakeTimeout,
    Denied(u16),
    PolicyFailed,
    AuthUnavailable,
    PredecessorStays,
    Upstream,
    /// The upstream refused the stream, with this code.
    Refused(u16),
    NoPlace,
    /// The upstream closed the stream, with this code.
    UpstreamEnded(u16),
    TooFast,
    TooLong,
    ResumeRefused,
    /// Another connection has the stream now.
    Resumed,
    /// The stream was complete before the client came back for it.
    Remembered,
    Evicted,
    Idle,
    TokenExpired,
    Internal,
    Draining,
    Violation(u16),
    Unfinished,
    Finalized,
    Done,
    ClientClosed(Option<(u16, String)>),
    Stalled,
    /// The client's side of the transport ended, or broke.
    Gone,
}
