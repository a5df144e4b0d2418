//! The reasons for which a connection may end.

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    Overloaded,
    RateLimited,
    NotFound,
    HandshakeInvalid,
    HandshakeTimeout,
    Denied(u16),
    PolicyFailed,
    AuthUnavailable,
    PredecessorStays,
    Upstream,
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
