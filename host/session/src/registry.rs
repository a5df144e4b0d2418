//! Live sessions, and their exclusive claims.
//!
//! A claim belongs to a session and ends with it. The session's owner holds a [`SessionGuard`].
//! Dropping it, even in a panic, releases every claim, and wakes those that wait for the session to
//! end.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base::rejection::Rejection;

mod client;
mod session;
pub mod shared;
mod sharing;
mod standing;
mod table;

pub use client::Client;
pub use session::{Notice, Session, SessionGuard};
use shared::{Over, SharedClaims};
pub use sharing::Uncommitted;
use table::ClaimTable;

/// Maximum number of claims of one session. It bounds the memory that guests can use.
pub const MAX_CLAIMS: usize = 16;
/// Maximum length of a claim's key, in bytes.
const MAX_KEY_BYTES: usize = 1024;

/// Registry of exclusive claims, shared by all connections. Cheap to clone.
#[derive(Debug, Default, Clone)]
pub struct Registry {
    claims: Arc<Mutex<ClaimTable>>,
    /// Claims of all gateways, if this one shares its own with others.
    shared: Arc<OnceLock<Arc<dyn SharedClaims>>>,
}

/// Connection that holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Session id of the holder.
    pub session_id: String,
    /// Time of the claim, in milliseconds since 1970.
    pub since_ms: u64,
    /// Current attributes of the holder.
    pub attributes: Vec<(String, String)>,
}

/// Reason why a claim failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Another connection holds the key.
    #[error("held by session {}", .0.session_id)]
    Held(Holder),
    /// The session has [`MAX_CLAIMS`] claims already.
    #[error("a connection holds {MAX_CLAIMS} claims at the most")]
    TooMany,
    /// The key is longer than `MAX_KEY_BYTES`.
    #[error("a claim's key is {MAX_KEY_BYTES} bytes at the most")]
    TooLarge,
    /// The connection has ended.
    #[error("the connection has ended")]
    Ended,
}

/// Position among a session's claims, to which [`Registry::undo`] returns.
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

impl Mark {
    /// Position before the first claim of a session.
    pub const START: Self = Self(0);
    /// Position behind every claim that a session ever makes.
    pub const END: Self = Self(usize::MAX);
}

impl Registry {
    /// Claims `key` for `session`. It succeeds if the session holds the key already.
    ///
    /// # Errors
    /// [`ClaimError`]. Nothing has changed then.
    pub fn claim(&self, session: &Arc<Session>, key: &str) -> Result<(), ClaimError> {
        let mut claims = self.lock();
        if let Some(real) = &session.shadow_of {
            return claims.look(session, real, key, None);
        }
        if claims.holder(key).is_some_and(|claim| claim.is_of(session)) {
            return Ok(());
        }
        if let Some(holder) = claims.learned(session, key) {
            return Err(ClaimError::Held(holder));
        }
        if let Some(claim) = claims.holder(key) {
            // A session does not conflict with its own stream, nor with another connection that
            // came back for that stream. Their claims end with their sessions, and only one of them
            // gets the stream.
            if session.returns_to(&claim.session) {
                return claims.insert(session, key, self.standing());
            }
            return Err(claim.told_to(session, key));
        }
        claims.insert(session, key, self.standing())
    }

    /// Claims `key` from the session with the id `holder`, if that still holds it. If nobody holds
    /// it any more, claims it. The evicted session gets `notice`.
    ///
    /// # Errors
    /// [`ClaimError`]. Nothing has changed then.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "each loser is given its own; whoever evicts has no use for it"
    )]
    pub fn evict(
        &self,
        session: &Arc<Session>,
        key: &str,
        holder: &str,
        notice: Rejection,
    ) -> Result<(), ClaimError> {
        let mut claims = self.lock();
        if let Some(real) = &session.shadow_of {
            return claims.look(session, real, key, Some(holder));
        }
        if claims.holder(key).is_some_and(|claim| claim.is_of(session)) {
            return Ok(());
        }
        let elsewhere = claims.learned(session, key);
        match (&elsewhere, claims.holder(key)) {
            (Some(found), _) if found.session_id != holder => {
                return Err(ClaimError::Held(found.clone()));
            }
            (None, Some(claim)) if &*claim.session.facts.session_id != holder => {
                return Err(claim.told_to(session, key));
            }
            _ => {}
        }
        let evicted: Vec<_> = claims
            .all(key)
            .filter(|claim| !claim.is_of(session))
            .map(|claim| (key.to_owned(), claim.clone()))
            .collect();
        claims.insert(session, key, self.standing())?;
        // Those before the holder may not have been notified: a stream that waits for its client
        // can have connections of that client on top of it.
        let losers = evicted
            .iter()
            .map(|(_, claim)| (key.to_owned(), Arc::clone(&claim.session), notice.clone()));
        let losers: Vec<_> = losers.collect();
        let mut held = session.lock();
        held.evicted.extend(evicted);
        if elsewhere.is_some() {
            let over = Over::Session(holder.to_owned(), notice);
            held.over.push((key.to_owned(), over));
        }
        if self.is_shared() {
            // They are told once the claim holds.
            held.notices.extend(losers);
            return Ok(());
        }
        drop(held);
        drop(claims);
        for (_, loser, notice) in losers {
            loser.tell(Notice::Superseded(notice));
        }
        Ok(())
    }

    /// Current position of `session`.
    #[must_use]
    pub fn mark(&self, session: &Session) -> Mark {
        Mark(session.lock().claims.len())
    }

    /// Releases what `session` claimed after `mark`, for a call that failed.
    pub fn undo(&self, session: &Arc<Session>, mark: Mark) {
        let mut claims = self.lock();
        let undone: Vec<_> = {
            let mut held = session.lock();
            let keep = mark.0.min(held.claims.len());
            let undone = held.claims.split_off(keep);
            let is_undone = |key: &String| undone.iter().any(|(claimed, _)| claimed == key);
            held.evicted.retain(|(key, _)| !is_undone(key));
            held.notices.retain(|(key, ..)| !is_undone(key));
            held.over.retain(|(key, _)| !is_undone(key));
            undone
        };
        claims.remove(&undone);
        drop(claims);
        self.follow(&undone);
    }

    /// Number of keys that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Whether no key is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn release(&self, session: &Session) {
        let mut claims = self.lock();
        let mut held = session.lock();
        held.released = true;
        held.evicted.clear();
        held.notices.clear();
        let released = std::mem::take(&mut held.claims);
        claims.remove(&released);
        drop(held);
        // Before anybody can claim what is free here now.
        self.leave(session, &released);
        drop(claims);
        session.ended.cancel();
    }

    // Nothing under this lock can panic in the middle of a change, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, ClaimTable> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Current time, in milliseconds since 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
