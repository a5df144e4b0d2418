//! Streams whose clients are away, and may come back.
//!
//! A stream that may be resumed is *moored* at a [`Berth`]: a token that only
//! its client was told leads there. If the connection is lost, the stream is
//! *parked*: its upstream stays open and its claims stay held, for the grace
//! that the route gives. Whoever comes back with the token, and is let in by all
//! policies as the same client for the same stream, takes it; the host then
//! continues where the upstream's bytes end.
//!
//! With each resumption the client is told another token. The one that it came
//! with is good until it has shown that it knows the other: an ack that was lost
//! on its way must not lock the owner out. Of several connections that come back
//! for one stream the latest has it, as a client gives up one before it tries
//! the next.
//!
//! How many streams are parked is bounded, and so is what one of them holds: see
//! [`Stream`]. A stream that its client completed, and whose end may not have
//! reached it, is remembered for the grace, by its size alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::time::sleep;

use base::credentials::RESUME_PREFIX;
use base::shutdown::Shutdown;
use session::registry::{Session, SessionGuard};

mod berth;
mod owner;
pub mod pace;
mod rooms;
mod stream;
#[cfg(test)]
mod tests;
mod waiting;

use berth::{Berth, Place, Wanting};
pub use owner::Owner;
use rooms::{Client, Room, Rooms};
pub use stream::{Said, Stream};
pub use waiting::{Patience, Waiting};

/// Bytes of a token: nobody guesses one.
const TOKEN: usize = 32;

/// Every berth of a gateway.
pub struct Parking {
    berths: Mutex<HashMap<String, Arc<Berth>>>,
    parked: Rooms,
    remembered: Rooms,
    turns: AtomicU64,
}

impl Parking {
    /// Room for so many streams at once, and of one client; as many may be
    /// remembered.
    #[must_use]
    pub fn new(streams: usize, per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            berths: Mutex::default(),
            parked: Rooms::new(streams, per_client),
            remembered: Rooms::new(streams, per_client),
            turns: AtomicU64::default(),
        })
    }

    /// Gives a stream a berth, and a token that leads to it.
    #[must_use]
    pub(crate) fn moor(self: &Arc<Self>, session: &Session, owner: Owner) -> Moored {
        let turn = self.turn();
        let stream = Arc::clone(&session.facts.session_id);
        let client = owner.client(session.facts.remote.ip());
        let moored = Moored {
            parking: Arc::clone(self),
            berth: Arc::new(Berth::new(owner, client, stream, turn)),
            turn,
            token: token(),
        };
        moored.answers_to(&moored.token);
        moored
    }

    /// Whoever presents this token, if it leads anywhere.
    #[must_use]
    pub fn find(self: &Arc<Self>, token: &str) -> Option<Returning> {
        let berth = self.lock().get(token).cloned()?;
        Some(Returning {
            parking: Arc::clone(self),
            berth,
            turn: self.turn(),
            token: token.to_owned(),
        })
    }

    /// Later connections have larger numbers.
    fn turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    fn forget(&self, tokens: &[String]) {
        let mut berths = self.lock();
        for token in tokens {
            berths.remove(token);
        }
    }

    // A map keeps its invariants at every step, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Berth>>> {
        self.berths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It says what it is, so that it is hidden wherever somebody puts it.
fn token() -> String {
    let random = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; TOKEN]>());
    RESUME_PREFIX.to_owned() + &random
}

/// A connection that presented a token, and has yet to show whose it is.
pub struct Returning {
    parking: Arc<Parking>,
    berth: Arc<Berth>,
    turn: u64,
    token: String,
}

/// What a client that came back finds.
pub enum Taken {
    /// Its stream, which goes on.
    Stream(Stream, Moored),
    /// That its stream was complete, with so many bytes.
    Complete(u64),
}

impl Returning {
    /// The session that began the stream.
    #[must_use]
    pub fn stream(&self) -> &Arc<str> {
        &self.berth.stream
    }

    /// What the client came with.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Takes the stream, once its connection has let go of it: a connection
    /// that is half dead must not keep its own client out. `None` where the
    /// stream is another client's, or gone, or a later connection's.
    pub async fn take(&self, by: &Owner) -> Option<Taken> {
        if *by != self.berth.owner {
            return None;
        }
        let _wanting = Wanting::begin(&self.berth, self.turn);
        // From here to the end nothing waits: what was taken is never dropped.
        let (stream, guard) = match self.berth.until(|berth| berth.give(self.turn)).await {
            Place::Parked(stream, guard) => (stream, guard),
            Place::Complete(bytes) => return Some(Taken::Complete(bytes)),
            Place::Live | Place::Gone => return None,
        };
        let moored = Moored {
            parking: Arc::clone(&self.parking),
            berth: Arc::clone(&self.berth),
            turn: self.turn,
            token: token(),
        };
        let tokens = std::mem::take(&mut self.berth.lock().tokens);
        moored.answers_to(&self.token);
        moored.answers_to(&moored.token);
        let unused: Vec<_> = tokens
            .into_iter()
            .filter(|old| *old != self.token)
            .collect();
        self.parking.forget(&unused);
        // Its claims are the new session's.
        drop(guard);
        Some(Taken::Stream(stream, moored))
    }
}

/// A stream's hold on its berth. Once it is dropped, the tokens lead nowhere,
/// unless another connection has taken the stream.
pub struct Moored {
    parking: Arc<Parking>,
    berth: Arc<Berth>,
    turn: u64,
    token: String,
}

impl Moored {
    /// What leads back to the stream. For its client's eyes only.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Waits until somebody came back for the stream.
    pub async fn wanted(&self) {
        let wanted = |berth: &mut berth::State| berth.is_wanted().then_some(());
        self.berth.until(wanted).await;
    }

    /// The client has shown that it knows the token: the one that it came with
    /// is of no use any more.
    pub(crate) fn token_is_known(&self) {
        let mut berth = self.berth.lock();
        if berth.holder != self.turn {
            return;
        }
        let unused = |token: &mut String| *token != self.token;
        let unused: Vec<_> = berth.tokens.extract_if(.., unused).collect();
        drop(berth);
        self.parking.forget(&unused);
    }

    /// Parks the stream. Where another connection waits to take it, it needs no
    /// room.
    ///
    /// # Errors
    /// Where there is no room: what was to be parked.
    #[allow(
        clippy::result_large_err,
        reason = "what has no room goes back whole, once in a connection's life"
    )]
    pub fn park(
        self,
        stream: Stream,
        guard: SessionGuard,
    ) -> Result<Waiting, (Stream, SessionGuard)> {
        let room = self.parking.parked.take(&self.berth.client);
        let session = Arc::clone(guard.session());
        let mut berth = self.berth.lock();
        if room.is_none() && !berth.is_wanted() {
            return Err((stream, guard));
        }
        berth.place = Place::Parked(stream, guard);
        berth.room = room;
        drop(berth);
        self.berth.has_changed();
        Ok(Waiting::new(self, session))
    }

    /// Remembers that the stream is complete. `None` where there is no room.
    #[must_use]
    pub fn complete(self, bytes: u64) -> Option<Remembered> {
        let room = self.parking.remembered.take(&self.berth.client)?;
        self.berth.lock().place = Place::Complete(bytes);
        self.berth.has_changed();
        Some(Remembered {
            _moored: self,
            _room: room,
        })
    }

    fn answers_to(&self, token: &str) {
        self.berth.lock().tokens.push(token.to_owned());
        let berth = Arc::clone(&self.berth);
        self.parking.lock().insert(token.to_owned(), berth);
    }

    /// Gives up the berth, with what is parked there.
    fn leave(&self) -> Option<(Stream, SessionGuard)> {
        let mut berth = self.berth.lock();
        if berth.holder != self.turn {
            return None;
        }
        let before = std::mem::replace(&mut berth.place, Place::Gone);
        let tokens = std::mem::take(&mut berth.tokens);
        berth.room = None;
        drop(berth);
        self.parking.forget(&tokens);
        // Whoever waits for it learns that there is nothing to wait for.
        self.berth.has_changed();
        match before {
            Place::Parked(stream, guard) => Some((stream, guard)),
            Place::Live | Place::Complete(_) | Place::Gone => None,
        }
    }
}

impl Drop for Moored {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

/// A stream whose client may not know that it is complete. It holds nothing
/// but its berth; once it is dropped, the token leads nowhere.
pub struct Remembered {
    _moored: Moored,
    _room: Room,
}

impl Remembered {
    /// Stays until the client had the time to ask.
    pub async fn stay(self, grace: Duration, shutdown: Shutdown) {
        tokio::select! {
            biased;
            () = shutdown.draining() => {}
            () = sleep(grace) => {}
        }
    }
}
