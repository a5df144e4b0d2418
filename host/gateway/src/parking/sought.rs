//! Streams of other gateways, by the resume token that leads to them.

use std::sync::Arc;

use super::Parking;
use super::owner::Owner;
use super::stored::{StoredState, StoredStream};
use super::token::TokenDigest;
use session::store::{SharedStore, StoreError};
use upstream::Place;

/// Token that leads to no stream here, and may lead to one of another gateway.
pub struct Sought {
    shared: Arc<dyn SharedStore>,
    token: String,
}

/// Stream of another gateway, before it goes on here.
pub struct Found {
    /// ID of the session that began the stream.
    pub(crate) stream: Arc<str>,
    pub(crate) stored: StoredStream,
    /// Token that the client presented.
    pub(crate) token: String,
}

impl Parking {
    /// Seeks a stream at other gateways. `None` if this one shares nothing with others.
    #[must_use]
    pub fn seek(&self, token: &str) -> Option<Sought> {
        let shared = Arc::clone(self.shared.get()?);
        let token = token.to_owned();
        Some(Sought { shared, token })
    }
}

impl Sought {
    /// Finds the stream; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError`] if that is not known.
    pub async fn find(self) -> Result<Option<Found>, StoreError> {
        let digest = TokenDigest::of(&self.token);
        let record = self.shared.find(digest.as_str()).await?;
        let stored = record.and_then(|record| StoredStream::read(&record));
        // A record may be found under a token that is none of its stream any more.
        let stored = stored.filter(|stored| stored.has(&digest) && !stored.stream.is_empty());
        Ok(stored.map(|stored| Found {
            stream: stored.stream.as_str().into(),
            stored: stored.without_hold(),
            token: self.token,
        }))
    }
}

impl Found {
    /// Instance id of the gateway where it was.
    pub(crate) fn gateway(&self) -> &str {
        self.stored.gateway()
    }

    /// Session that had it there, unless it is complete.
    pub(crate) fn session_id(&self) -> Option<&str> {
        match &self.stored.state {
            StoredState::Open(open) => Some(&open.session_id),
            StoredState::Complete(_) => None,
        }
    }

    /// Whether the stream is that of this client.
    #[must_use]
    pub fn is_of(&self, owner: &Owner) -> bool {
        self.stored.owner == *owner
    }
}

impl StoredStream {
    /// Whether a token leads to it.
    fn has(&self, token: &TokenDigest) -> bool {
        self.tokens().contains(token)
    }

    /// The stream as another gateway goes on with it: whoever writes it, and without its claims,
    /// which its client has made here already.
    fn without_hold(mut self) -> Self {
        if let StoredState::Open(open) = &mut self.state {
            open.claims.clear();
            if let Place::Chain { writer, .. } = &mut open.place {
                *writer = None;
            }
        }
        self
    }
}
