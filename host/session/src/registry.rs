//! Live sessions and the exclusive claims that they hold.
//!
//! A claim belongs to a session and ends with it. The session's owner holds a
//! [`SessionGuard`]; dropping it releases every claim, on every path, panics
//! included, and wakes whoever waits for the session to end.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use crate::facts::Facts;
use base::rejection::Rejection;

mod client;

pub use client::Client;

/// Claims that one session may hold: what a guest can make the host remember
/// is bounded.
pub const MAX_CLAIMS: usize = 16;
/// Bytes of one claim's key.
const MAX_KEY_BYTES: usize = 1024;

/// Who holds which key, across all connections of this gateway.
#[derive(Debug, Default, Clone)]
pub struct Registry {
    claims: Arc<Mutex<Claims>>,
}

#[derive(Debug, Default)]
struct Claims {
    /// The last claim on a key is the one that holds it. Those before it were
    /// evicted and have not ended: if the holder goes first, the key goes back
    /// to them, so that nobody takes it while one of them is still sealing.
    /// No list is ever empty.
    by_key: HashMap<String, Vec<Claim>>,
    /// Grows with every claim that is made: a later claim on a key has the
    /// larger number, so that whoever writes on behalf of an older one can be
    /// told apart.
    next_fence: u64,
}

#[derive(Debug, Clone)]
struct Claim {
    session: Arc<Session>,
    fence: u64,
    since_ms: u64,
}

/// One connection, as policies and other connections know it.
#[derive(Debug)]
pub struct Session {
    /// What is known of it.
    pub facts: Arc<Facts>,
    held: Mutex<Held>,
    notice: OnceLock<Rejection>,
    noticed: CancellationToken,
    /// The user that a policy has verified.
    user: OnceLock<Box<str>>,
    /// The session that began the stream which this one came back for.
    resumes: OnceLock<Arc<str>>,
    ended: CancellationToken,
    /// Seconds since 1970; `u64::MAX` where nothing expires.
    expires_at: AtomicU64,
    /// Whom this is a shadow of. What a shadow claims it has as far as it can
    /// tell, and nobody else can.
    shadow_of: Option<Original>,
}

/// The session that another one is a shadow of.
#[derive(Debug)]
struct Original {
    session: Arc<Session>,
    /// What it has claimed since the shadow is to stand where it stood, and
    /// from whom. To the shadow that has not happened.
    since: Vec<(String, Option<Claim>)>,
}

#[derive(Debug, Default)]
struct Held {
    /// Keys with their fences, in the order in which they were claimed.
    claims: Vec<(String, u64)>,
    /// What those had whom this one evicted, by key, the holder last. They may
    /// still be sealing.
    evicted: Vec<(String, Claim)>,
    /// After the release nothing can be claimed: a call that outlives its
    /// connection must not leave a claim that nobody would release.
    released: bool,
}

/// The connection that holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its session's id.
    pub session_id: String,
    /// When it made the claim, in milliseconds since 1970.
    pub since_ms: u64,
    /// Its attributes now.
    pub attributes: Vec<(String, String)>,
}

/// Why a claim could not even be tried.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Another connection has it.
    #[error("held by session {}", .0.session_id)]
    Held(Holder),
    /// See [`MAX_CLAIMS`].
    #[error("a connection holds {MAX_CLAIMS} claims at the most")]
    TooMany,
    /// See [`MAX_KEY_BYTES`].
    #[error("a claim's key is {MAX_KEY_BYTES} bytes at the most")]
    TooLarge,
    /// The connection is gone.
    #[error("the connection has ended")]
    Ended,
}

/// A mark to which [`Registry::undo`] returns.
#[derive(Debug, Clone, Copy)]
pub struct Mark(usize);

impl Mark {
    /// Behind everything that a session ever claims.
    pub const END: Self = Self(usize::MAX);
}

impl Registry {
    /// Takes `key` for `session`, or says who has it. Claiming again what the
    /// session holds succeeds.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing has changed then.
    pub fn claim(&self, session: &Arc<Session>, key: &str) -> Result<(), ClaimError> {
        let mut claims = self.lock();
        if let Some(real) = &session.shadow_of {
            return claims.look(session, real, key, None);
        }
        if let Some(claim) = claims.holder(key) {
            if Arc::ptr_eq(&claim.session, session) {
                return Ok(());
            }
            // Its own stream keeps nobody out, and neither does another
            // connection that came back for it: those claims go with their
            // sessions, and only one of them gets the stream.
            if session.returns_to(&claim.session) {
                return claims.insert(session, key);
            }
            return Err(ClaimError::Held(claim.holder()));
        }
        claims.insert(session, key)
    }

    /// Takes `key` from the session with the id `holder`, if that still holds
    /// it, or takes it if nobody does any more. The loser is given `notice`.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing has changed then.
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
        let Some(claim) = claims.holder(key) else {
            return claims.insert(session, key);
        };
        if Arc::ptr_eq(&claim.session, session) {
            return Ok(());
        }
        if &*claim.session.facts.session_id != holder {
            return Err(ClaimError::Held(claim.holder()));
        }
        let evicted: Vec<_> = claims
            .all(key)
            .filter(|claim| !Arc::ptr_eq(&claim.session, session))
            .map(|claim| (key.to_owned(), claim.clone()))
            .collect();
        claims.insert(session, key)?;
        session.lock().evicted.extend(evicted.iter().cloned());
        drop(claims);
        // Those before the holder may not know it yet: a stream that waits for
        // its client has connections of that client on top of it.
        for (_, loser) in evicted {
            loser.session.tell(notice.clone());
        }
        Ok(())
    }

    /// Where `session` stands now.
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
            undone
        };
        claims.remove(&undone);
    }

    /// How many keys are held.
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
        let released = std::mem::take(&mut held.claims);
        claims.remove(&released);
        drop(held);
        drop(claims);
        session.ended.cancel();
    }

    // Nothing under this lock can panic half-way through a change, so
    // poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claims {
    fn all(&self, key: &str) -> impl DoubleEndedIterator<Item = &Claim> {
        self.by_key.get(key).into_iter().flatten()
    }

    fn holder(&self, key: &str) -> Option<&Claim> {
        self.all(key).next_back()
    }

    /// What a claim of `shadow` would come to, if it were the one that it is a
    /// shadow of; whoever `evicts` names would be no obstacle.
    fn look(
        &self,
        shadow: &Session,
        Original { session, since }: &Original,
        key: &str,
        evicts: Option<&str>,
    ) -> Result<(), ClaimError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(ClaimError::TooLarge);
        }
        let mut held = shadow.lock();
        if held.claims.iter().any(|(has, _)| has == key) {
            return Ok(());
        }
        if held.claims.len() >= MAX_CLAIMS {
            return Err(ClaimError::TooMany);
        }
        let holder = match since.iter().find(|(claimed, _)| claimed == key) {
            Some((_, displaced)) => displaced.as_ref(),
            None => self.holder(key),
        };
        let in_the_way = holder.filter(|claim| {
            !Arc::ptr_eq(&claim.session, session)
                && !session.returns_to(&claim.session)
                && evicts != Some(&*claim.session.facts.session_id)
        });
        if let Some(claim) = in_the_way {
            return Err(ClaimError::Held(claim.holder()));
        }
        held.claims.push((key.to_owned(), u64::MAX));
        Ok(())
    }

    /// Puts `session` before whoever held the key.
    fn insert(&mut self, session: &Arc<Session>, key: &str) -> Result<(), ClaimError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(ClaimError::TooLarge);
        }
        let mut held = session.lock();
        if held.released {
            return Err(ClaimError::Ended);
        }
        if held.claims.len() >= MAX_CLAIMS {
            return Err(ClaimError::TooMany);
        }
        let fence = self.next_fence;
        self.next_fence += 1;
        held.claims.push((key.to_owned(), fence));
        drop(held);
        let session = Arc::clone(session);
        let since_ms = unix_ms();
        self.by_key.entry(key.to_owned()).or_default().push(Claim {
            session,
            fence,
            since_ms,
        });
        Ok(())
    }

    /// Removes the claims that are named; others on the same keys stay.
    fn remove(&mut self, keys: &[(String, u64)]) {
        for (key, fence) in keys {
            let Some(claims) = self.by_key.get_mut(key) else {
                continue;
            };
            claims.retain(|claim| claim.fence != *fence);
            if claims.is_empty() {
                self.by_key.remove(key);
            }
        }
    }
}

impl Held {
    /// The keys that were claimed after `mark`, and who had them.
    fn since(&self, mark: Mark) -> Vec<(String, Option<Claim>)> {
        let claimed = self.claims.get(mark.0..).unwrap_or_default();
        let displaced = |key: &String| {
            let mut evicted = self.evicted.iter().rev();
            evicted
                .find(|(of, _)| of == key)
                .map(|(_, claim)| claim.clone())
        };
        claimed
            .iter()
            .map(|(key, _)| (key.clone(), displaced(key)))
            .collect()
    }
}

impl Claim {
    fn holder(&self) -> Holder {
        Holder {
            session_id: self.session.facts.session_id.to_string(),
            since_ms: self.since_ms,
            attributes: self.session.facts.attributes(),
        }
    }
}

impl Session {
    fn new(facts: Arc<Facts>, shadow_of: Option<Original>) -> Self {
        Self {
            facts,
            held: Mutex::default(),
            notice: OnceLock::new(),
            noticed: CancellationToken::new(),
            user: OnceLock::new(),
            resumes: OnceLock::new(),
            ended: CancellationToken::new(),
            expires_at: AtomicU64::new(u64::MAX),
            shadow_of,
        }
    }

    /// A session as `real` was at `mark`, when it had these attributes. Nothing
    /// that is done on it has an effect on anybody.
    #[must_use]
    pub fn shadow(real: &Arc<Self>, attributes: Vec<(String, String)>, mark: Mark) -> Arc<Self> {
        let facts = real.facts.with_attributes(attributes);
        let original = Original {
            session: Arc::clone(real),
            since: real.lock().since(mark),
        };
        let shadow = Self::new(Arc::new(facts), Some(original));
        if let Some(user) = real.user() {
            shadow.identify(user);
        }
        Arc::new(shadow)
    }

    /// Notes who the client is, once a policy has verified that.
    pub fn identify(&self, user: &str) {
        // The first policy that knows it is believed.
        let _ = self.user.set(user.into());
    }

    /// The user that a policy has verified.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.get().map(|user| &**user)
    }

    /// Waits until another connection has evicted this one.
    pub async fn evicted(&self) -> Rejection {
        loop {
            self.noticed.cancelled().await;
            // The notice is set before the token is cancelled.
            if let Some(notice) = self.notice.get() {
                return notice.clone();
            }
        }
    }

    /// Whether another connection has evicted this one.
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.notice.get().is_some()
    }

    /// Waits until every session that this one evicted has ended.
    pub async fn evicted_have_ended(&self) {
        let evicted = std::mem::take(&mut self.lock().evicted);
        for (_, claim) in evicted {
            claim.session.ended.cancelled().await;
        }
    }

    /// Notes that what admits this connection ends at this time, in seconds
    /// since 1970. The earliest counts.
    pub fn expires(&self, at: u64) {
        self.expires_at.fetch_min(at, Ordering::Relaxed);
    }

    /// How long from now what admits this connection is good for.
    #[must_use]
    pub fn expires_in(&self) -> Option<Duration> {
        let at = self.expires_at.load(Ordering::Relaxed);
        (at != u64::MAX)
            .then(|| Duration::from_millis(at.saturating_mul(1000).saturating_sub(unix_ms())))
    }

    /// Notes that this session came back for a stream, by the session that
    /// began it.
    pub fn resumes(&self, session_id: &Arc<str>) {
        // A session resumes one stream.
        let _ = self.resumes.set(Arc::clone(session_id));
    }

    /// Whether this session came back for the stream that `other` began or came
    /// back for.
    fn returns_to(&self, other: &Self) -> bool {
        let stream = other.resumes.get().unwrap_or(&other.facts.session_id);
        self.resumes.get() == Some(stream)
    }

    fn tell(&self, notice: Rejection) {
        // The first notice stands: the connection can end only once.
        let _ = self.notice.set(notice);
        self.noticed.cancel();
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owns a session. Dropping it releases everything that the session holds.
pub struct SessionGuard {
    session: Arc<Session>,
    registry: Registry,
}

impl SessionGuard {
    /// Starts a session.
    #[must_use]
    pub fn new(facts: Facts, registry: Registry) -> Self {
        let session = Arc::new(Session::new(Arc::new(facts), None));
        Self { session, registry }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.registry.release(&self.session);
    }
}

impl fmt::Debug for SessionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionGuard")
            .field(&self.session.facts.session_id)
            .finish()
    }
}

/// Milliseconds since 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
