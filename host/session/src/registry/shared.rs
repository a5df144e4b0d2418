//! Claims that several gateways share: what a registry asks of them.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::Holder;
use base::rejection::Rejection;

/// Claim of a session here, as other gateways see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedClaim {
    /// The key.
    pub key: String,
    /// ID of the session.
    pub session_id: Arc<str>,
    /// ID of the session that began the stream of this one.
    pub stream: Arc<str>,
    /// Time of the claim, in milliseconds since 1970.
    pub since_ms: u64,
    /// Attributes of the session.
    pub attributes: Vec<(String, String)>,
}

/// Holder at another gateway from which a key may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// None.
    Nobody,
    /// The session's own stream, once it is known that the client owns it: see [`Granted::Later`].
    StreamLater,
    /// The session's own stream.
    Stream,
    /// The session with this id, which gets this notice.
    Session(String, Rejection),
}

/// Success of a claim.
#[derive(Debug)]
pub enum Granted {
    /// The session holds the key. The token is cancelled once the session at another gateway that was
    /// evicted has ended, or nobody can tell.
    Now(Option<CancellationToken>),
    /// The session's own stream holds the key, and still does.
    Later,
}

/// Reason why a claim does not hold at all gateways.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SharedClaimError {
    /// Another gateway's session holds the key.
    #[error("held by session {} at another gateway", .0.session_id)]
    Held(Holder),
    /// It is not known who holds the key.
    #[error("{0}")]
    Away(String),
}

/// Claims that several gateways share. No call blocks.
pub trait SharedClaims: fmt::Debug + Send + Sync {
    /// Claims a key at all gateways, within a bounded time. It goes on if nobody polls the future;
    /// who does not want the claim any more calls [`SharedClaims::follow`].
    fn claim(
        &self,
        claim: SharedClaim,
        over: Over,
    ) -> BoxFuture<'static, Result<Granted, SharedClaimError>>;

    /// Tells the other gateways, in the background, who holds a key here now.
    fn follow(&self, key: &str);

    /// Gives another gateway, where this stream of the holder goes on, some time to take a key over that
    /// is released here. Until then nobody else takes it here. Then it is as with
    /// [`SharedClaims::follow`].
    fn leave(&self, key: &str, stream: &Arc<str>);

    /// Asks another gateway to let go of a stream that goes on here, which this session had there.
    fn let_go(&self, gateway: &str, stream: &str, session_id: &str);

    /// Waits, within a limit, until the other gateways know what was released, and ends the lease of
    /// this one. Nothing can be claimed after that.
    fn close(&self) -> BoxFuture<'static, ()>;
}
