//! Load and health of a backend's addresses, for the operator.

/// Address of a backend, with its load and health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendAddress {
    /// Host and port.
    pub address: String,
    /// Number of streams that it has.
    pub streams: usize,
    /// State of its circuit breaker.
    pub state: BackendState,
}

/// State of the circuit breaker of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendState {
    /// It gets streams.
    InUse,
    /// It gets none for a while, because it kept failing.
    Rests,
    /// Its rest is over, and one stream at a time finds out how it is.
    Probed,
}

impl BackendState {
    /// Name on the admin listener.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::InUse => "in-use",
            Self::Rests => "rests",
            Self::Probed => "probed",
        }
    }
}
