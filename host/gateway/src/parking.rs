//! Parked streams: streams whose clients have lost their connection and may resume.
//!
//! A stream that may be resumed has a `Slot`, which outlives its connections. Only the stream's
//! client knows the resume token that leads to the slot. The connection that has the stream holds
//! an [`Attachment`] to the slot. If the connection is lost, the stream is *parked* in the slot:
//! its upstream stays open and its claims stay held, for the route's grace period. A connection
//! that presents the token, and that all policies admit as the same client for the same stream,
//! takes the stream. It continues where the upstream's bytes end.
//!
//! With each resumption the client gets a new token. The one that it presented stays valid until
//! the client has shown that it knows the new one, because an ack that was lost on its way must not
//! lock the client out. If several connections want to resume one stream, the latest one gets it: a
//! client gives up one connection before it tries the next.
//!
//! The number of parked streams is bounded, and so is what one of them holds: see [`Stream`]. If a
//! client completed its stream but may not have been told so, only the stream's size is remembered,
//! for the grace period.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio_util::task::TaskTracker;

use session::registry::Session;
use session::store::{SharedStore, Store};

mod attachment;
mod owner;
pub mod pace;
mod parked_stream;
mod returning;
mod rooms;
mod slot;
mod sought;
mod stored;
mod stream;
#[cfg(test)]
mod tests;
mod token;

pub use attachment::{Attachment, Remembered};
pub use owner::Owner;
pub use parked_stream::{ParkLimits, ParkedStream};
pub use returning::{Returning, Taken};
use rooms::Rooms;
use slot::Slot;
pub use sought::{Found, Sought};
pub(crate) use stored::{NotStored, OpenStream, StoredState, StoredStream};
pub use stream::{Said, Stream};
use token::{Token, TokenDigest};

/// Registry of all slots of a gateway, by resume token.
pub struct Parking {
    slots: Mutex<HashMap<TokenDigest, Arc<Slot>>>,
    /// Where streams are kept for the next process, if there is such a place.
    store: OnceLock<Arc<dyn Store>>,
    /// Where streams are kept that can go on at another gateway, if there is such a place.
    shared: OnceLock<Arc<dyn SharedStore>>,
    /// Connections and parked streams that have a stream in the store.
    durable: TaskTracker,
    parked: Rooms,
    remembered: Rooms,
    limit: usize,
    next_sequence: AtomicU64,
}

impl Parking {
    /// Registry that parks at most `streams` streams, and `per_client` of one client. As many may
    /// be remembered as complete.
    #[must_use]
    pub fn new(streams: usize, per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: Mutex::default(),
            store: OnceLock::new(),
            shared: OnceLock::new(),
            durable: TaskTracker::new(),
            parked: Rooms::new(streams, per_client),
            remembered: Rooms::new(streams, per_client),
            limit: streams,
            next_sequence: AtomicU64::default(),
        })
    }

    /// Keeps streams in this store as well, for the next process.
    pub(crate) fn keep_in(&self, store: Arc<dyn Store>) {
        // A gateway has one store.
        let _ = self.store.set(store);
    }

    /// Keeps streams that can go on at another gateway in this store as well.
    pub fn share_in(&self, store: Arc<dyn SharedStore>) {
        // A gateway has one such store.
        let _ = self.shared.set(store);
    }

    /// Waits until no stream of the store is here any more: after they were told to leave.
    pub async fn is_left(&self) {
        self.durable.close();
        self.durable.wait().await;
    }

    /// Number of streams that can be parked at once.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Creates a slot for a stream, with a resume token, and attaches the connection to it.
    #[must_use]
    pub(crate) fn attach(self: &Arc<Self>, session: &Session, owner: Owner) -> Attachment {
        let sequence = self.sequence();
        let stream = Arc::clone(&session.facts.session_id);
        let client = owner.client(session.facts.remote.ip());
        let attachment = Attachment {
            parking: Arc::clone(self),
            slot: Arc::new(Slot::new(owner, client, stream, sequence)),
            sequence,
            token: Token::random(),
            durable: None,
        };
        attachment.add_token(attachment.token.digest());
        attachment
    }

    /// Connection that presents this token; `None` if the token leads to no slot.
    #[must_use]
    pub fn find(self: &Arc<Self>, token: &str) -> Option<Returning> {
        let slot = self.lock().get(&TokenDigest::of(token)).cloned()?;
        Some(Returning {
            parking: Arc::clone(self),
            slot,
            sequence: self.sequence(),
            token: token.to_owned(),
        })
    }

    /// Sequence number of a connection. Later connections have larger numbers.
    fn sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Removes what the stores have of a stream that has ended.
    fn forget_stored(&self, stream: &str, tokens: &[TokenDigest]) {
        if let Some(store) = self.store.get() {
            store.forget(stream);
        }
        self.forget_shared(tokens);
    }

    /// Removes the records to which these tokens lead other gateways.
    fn forget_shared(&self, tokens: &[TokenDigest]) {
        if let Some(shared) = self.shared.get() {
            for token in tokens {
                shared.forget(token.as_str());
            }
        }
    }

    /// Ends the slots that a stream had here before another gateway took it. What the stores have
    /// belongs to its next slot.
    fn supersede(&self, stream: &str, sequence: u64) {
        let mut slots = self.lock();
        let stale: Vec<_> = slots
            .values()
            .filter(|slot| *slot.stream == *stream)
            .cloned()
            .collect();
        slots.retain(|_, slot| *slot.stream != *stream);
        drop(slots);
        for slot in stale {
            // The parked stream is dropped after the lock is released.
            let _parked = slot.lock().supersede(sequence);
            slot.has_changed();
        }
    }

    /// Ends what this gateway has of a stream that another gateway has taken from this session. A
    /// stream that has come back since then has another one. Returns once it has ended.
    pub async fn let_go(&self, stream: &str, session_id: &str) {
        let slots: Vec<_> = {
            let slots = self.lock();
            let of_it = slots.values().filter(|slot| *slot.stream == *stream);
            of_it.cloned().collect()
        };
        for slot in slots {
            if !slot.lock().is_taken_elsewhere_from(session_id) {
                continue;
            }
            slot.has_changed();
            slot.until(|state| state.is_gone().then_some(())).await;
        }
    }

    fn forget(&self, tokens: &[TokenDigest]) {
        let mut slots = self.lock();
        for token in tokens {
            slots.remove(token);
        }
    }

    // A map keeps its invariants at every step, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, HashMap<TokenDigest, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
