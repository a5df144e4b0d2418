//! Streams whose clients are away, and may come back.
//!
//! A stream that may be resumed is *moored*: a token that only its client was
//! told leads to its berth. If the connection is lost, the stream is *parked*
//! there: its upstream stays open and its claims stay held, for the grace that
//! the route gives. Whoever comes back with the token, and is let in by all
//! policies as the same client for the same stream, takes it; the host then
//! continues where the upstream's bytes end. A token leads to its berth once.
//!
//! How many streams are parked is bounded, and so is what one of them holds: an
//! upstream that may be parked keeps no more than it does between two messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::facts::{Credentials, Facts};
use crate::handshake::Handshake;
use crate::session::{Session, SessionGuard};
use crate::shutdown::Shutdown;
use crate::upstream::{Ending, Link};

/// Bytes of a token: nobody guesses one.
const TOKEN: usize = 32;

/// Every berth of a gateway.
pub struct Parking {
    berths: Mutex<HashMap<String, Arc<Berth>>>,
    room: Arc<Semaphore>,
}

/// The place of one stream.
pub struct Berth {
    owner: Owner,
    session_id: Arc<str>,
    state: Mutex<State>,
    /// Somebody came back for a stream whose connection seemed alive.
    wanted: CancellationToken,
    /// The stream is no more with its connection.
    settled: CancellationToken,
    /// The stream is no more here.
    left: CancellationToken,
}

enum State {
    /// With its connection.
    Live,
    Parked(Stream),
    Gone,
}

/// A stream that waits for its client.
pub struct Stream {
    /// Its upstream.
    pub link: Box<dyn Link>,
    /// Its claims.
    pub guard: SessionGuard,
    /// Bytes of audio that the upstream has taken.
    pub bytes: u64,
    _room: OwnedSemaphorePermit,
}

/// What must be the same for a stream to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    route: Arc<str>,
    params: Vec<(String, String)>,
    source: Option<String>,
    /// What policies found out about who the client is.
    identity: Vec<(String, String)>,
    format: (u32, u16, String),
}

impl Owner {
    /// Of a connection that its policies let in.
    #[must_use]
    pub fn of(facts: &Facts, handshake: &Handshake) -> Self {
        let mut identity = facts.attributes();
        identity.retain(|(name, _)| name.ends_with(".user_id") || name.ends_with(".tenant_id"));
        let source = facts.query("source", Credentials::Withheld);
        Self {
            route: Arc::clone(&facts.route),
            params: facts.params.clone(),
            source: source.map(str::to_owned),
            identity,
            format: (
                handshake.sample_rate,
                handshake.channels,
                handshake.codec.clone(),
            ),
        }
    }
}

impl Parking {
    /// Room for so many streams at once.
    #[must_use]
    pub fn new(streams: usize) -> Arc<Self> {
        Arc::new(Self {
            berths: Mutex::default(),
            room: Arc::new(Semaphore::new(streams.min(Semaphore::MAX_PERMITS))),
        })
    }

    /// Gives a stream a berth, and a token that leads to it.
    #[must_use]
    pub fn moor(self: &Arc<Self>, session: &Session, owner: Owner) -> Moored {
        let token = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN]>());
        let berth = Arc::new(Berth {
            owner,
            session_id: Arc::clone(&session.facts.session_id),
            state: Mutex::new(State::Live),
            wanted: CancellationToken::new(),
            settled: CancellationToken::new(),
            left: CancellationToken::new(),
        });
        self.lock().insert(token.clone(), Arc::clone(&berth));
        Moored {
            parking: Arc::clone(self),
            token,
            berth,
        }
    }

    /// The berth that a token leads to.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<Arc<Berth>> {
        self.lock().get(token).cloned()
    }

    // A map keeps its invariants at every step, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Berth>>> {
        self.berths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Berth {
    /// The session whose claims the stream holds.
    #[must_use]
    pub fn session_id(&self) -> &Arc<str> {
        &self.session_id
    }

    /// Takes the stream for somebody who came back, once its connection has
    /// let go of it: a connection that is half dead must not keep its own
    /// client out. `None` where it is another's, or gone.
    pub async fn take(&self, by: &Owner) -> Option<Stream> {
        if *by != self.owner {
            return None;
        }
        self.wanted.cancel();
        self.settled.cancelled().await;
        self.leave()
    }

    fn leave(&self) -> Option<Stream> {
        let before = std::mem::replace(&mut *self.lock(), State::Gone);
        self.settled.cancel();
        self.left.cancel();
        match before {
            State::Parked(stream) => Some(stream),
            State::Live | State::Gone => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's hold on its berth. Once it is dropped the token leads nowhere.
pub struct Moored {
    parking: Arc<Parking>,
    token: String,
    berth: Arc<Berth>,
}

impl Moored {
    /// What leads back to the stream. For its client's eyes only.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Waits until somebody came back for the stream.
    pub async fn wanted(&self) {
        self.berth.wanted.cancelled().await;
    }

    /// Parks the stream. It waits for its client until the grace is over, or
    /// until another connection takes its place, or the gateway stops; then it
    /// is sealed as `ending` says.
    ///
    /// # Errors
    /// Where there is no room: what was to be parked.
    pub fn park(
        self,
        link: Box<dyn Link>,
        guard: SessionGuard,
        bytes: u64,
    ) -> Result<Waiting, (Box<dyn Link>, SessionGuard)> {
        let Ok(room) = Arc::clone(&self.parking.room).try_acquire_owned() else {
            return Err((link, guard));
        };
        let session = Arc::clone(guard.session());
        *self.berth.lock() = State::Parked(Stream {
            link,
            guard,
            bytes,
            _room: room,
        });
        self.berth.settled.cancel();
        Ok(Waiting {
            moored: self,
            session,
        })
    }
}

impl Drop for Moored {
    fn drop(&mut self) {
        self.parking.lock().remove(&self.token);
        // Whoever waits for it learns that there is nothing to wait for.
        drop(self.berth.leave());
    }
}

/// A parked stream. To be driven to its end by [`Waiting::out`].
pub struct Waiting {
    moored: Moored,
    session: Arc<Session>,
}

impl Waiting {
    /// Waits for the client; seals the stream if it does not come.
    pub async fn out(self, grace: Duration, ending: Ending, sealing: Duration, shutdown: Shutdown) {
        let why = tokio::select! {
            biased;
            () = self.moored.berth.left.cancelled() => return,
            _ = self.session.evicted() => "another connection took its place",
            () = shutdown.draining() => "the gateway is shutting down",
            () = sleep(grace) => "its client did not come back",
        };
        let Some(Stream { link, guard, .. }) = self.moored.berth.leave() else {
            return;
        };
        let session_id = &*self.moored.berth.session_id;
        match timeout(sealing, link.seal(ending)).await {
            Ok(Ok(sealed)) => {
                tracing::info!(
                    session_id,
                    why,
                    bytes = sealed.bytes,
                    "a parked stream ended"
                );
            }
            Ok(Err(lost)) => {
                tracing::warn!(session_id, why, error = %lost, detail = ?lost.detail, "a parked stream could not be sealed");
            }
            Err(_) => tracing::warn!(session_id, why, "a parked stream was not sealed in time"),
        }
        // After the seal, like the claims of any stream.
        drop(guard);
    }
}
