//! Stage of a connection.

/// Stage of a connection, in the order in which it goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The connect policies decide.
    Connect,
    /// The handshake is awaited, and its policies decide.
    Handshake,
    /// The upstream opens.
    Open,
    /// The client streams.
    Stream,
    /// The upstream makes safe what it has.
    Seal,
    /// The error frame and the Close are sent, and waited for.
    Close,
    /// The client is away, and may come back for its stream.
    Parked,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Handshake,
        Self::Open,
        Self::Stream,
        Self::Seal,
        Self::Close,
        Self::Parked,
    ];

    /// Name in logs and on the admin listener.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Open => "open",
            Self::Stream => "stream",
            Self::Seal => "seal",
            Self::Close => "close",
            Self::Parked => "parked",
        }
    }

    /// Stage that follows if nothing ends the connection.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Connect => Self::Handshake,
            Self::Handshake => Self::Open,
            Self::Open => Self::Stream,
            Self::Stream => Self::Seal,
            Self::Seal | Self::Close => Self::Close,
            Self::Parked => Self::Parked,
        }
    }
}
