//! One session: its facts, user, expiry and claims.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shared::{Over, SharedClaim};
use super::standing::{Fate, Standing};
use super::{ClaimError, Holder, Mark, Registry, unix_ms};
use crate::facts::Facts;
use crate::notices::{ClientNotice, Notices, Notified};
use base::rejection::Rejection;

/// Maximum number of provisional claims of others that a session waits for.
const MAX_TOLD: usize = 64;

/// One connection, as policies and other connections see it.
#[derive(Debug)]
pub struct Session {
    /// Facts about the connection.
    pub facts: Arc<Facts>,
    held: Mutex<Holdings>,
    notice: OnceLock<Notice>,
    noticed: CancellationToken,
    /// Notices of policies that the client is to be sent.
    notices: Notices,
    /// User that a policy has verified.
    user: OnceLock<Box<str>>,
    /// Session that began the stream which this one resumes.
    resumes: OnceLock<Arc<str>>,
    pub(super) ended: CancellationToken,
    /// Expiry in seconds since 1970; `u64::MAX` if there is none.
    expires_at: AtomicU64,
    /// Time when its admission must be decided, while it is.
    decide_by: Mutex<Option<Instant>>,
    /// Whether its stream goes on at another gateway.
    is_elsewhere: AtomicBool,
    /// Original of a shadow. The claims of a shadow have no effect on others.
    pub(super) shadow_of: Option<Original>,
}

/// Session that another one is a shadow of.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) session: Arc<Session>,
    why: Copied,
    /// Claims that the original made after the shadow's position, with their earlier holders. The
    /// shadow must not see them.
    pub(super) since: Vec<(String, Option<Claim>)>,
    /// Holders at other gateways that the original knew.
    pub(super) learned: Vec<(String, Holder)>,
}

/// Purpose of a copy of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copied {
    /// A policy that decides nothing looks at it.
    Shadow,
    /// A renewed token is decided about.
    Renewal,
}

/// Claim of a session on a key.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) session: Arc<Session>,
    pub(super) fence: u64,
    pub(super) since_ms: u64,
    pub(super) standing: Standing,
}

impl Claim {
    pub(super) fn is_of(&self, session: &Arc<Session>) -> bool {
        Arc::ptr_eq(&self.session, session)
    }

    /// Whether it holds at all gateways, as far as this one knows.
    pub(super) fn holds(&self) -> bool {
        matches!(self.standing, Standing::Held)
    }

    /// The answer to `session`, which wants the key. If the claim is provisional, so is the answer.
    pub(super) fn told_to(&self, session: &Session, key: &str) -> ClaimError {
        if let Some(fate) = self.standing.fate() {
            session.lock().told(key, fate);
        }
        ClaimError::Held(self.holder())
    }

    /// The claim as other gateways see it.
    pub(super) fn shared(&self, key: &str) -> SharedClaim {
        let facts = &self.session.facts;
        SharedClaim {
            key: key.to_owned(),
            session_id: Arc::clone(&facts.session_id),
            stream: Arc::clone(self.session.stream()),
            since_ms: self.since_ms,
            attributes: facts.attributes(),
        }
    }

    pub(super) fn holder(&self) -> Holder {
        Holder {
            session_id: self.session.facts.session_id.to_string(),
            since_ms: self.since_ms,
            attributes: self.session.facts.attributes(),
        }
    }
}

/// Order to end a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Another connection took over, and its policy says so to this client.
    Superseded(Rejection),
    /// An operator ends it, for this reason.
    EndedByOperator(String),
}

/// Claims of one session.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Keys with their fencing tokens, in the order of the claims.
    pub(super) claims: Vec<(String, u64)>,
    /// Claims of evicted sessions, by key, the holder last. These sessions may still be sealing.
    pub(super) evicted: Vec<(String, Claim)>,
    /// Holders of keys at other gateways, as this session knows them since its policy was first asked.
    pub(super) learned: Vec<(String, Holder)>,
    /// Provisional claims of others that it was told of.
    pub(super) told: Vec<(String, Arc<Fate>)>,
    /// Sessions at other gateways from which it takes keys.
    pub(super) over: Vec<(String, Over)>,
    /// Sessions that are told to end once the claim on the key holds.
    pub(super) notices: Vec<(String, Arc<Session>, Rejection)>,
    /// Sessions at other gateways that it evicted: each is cancelled once that one has ended.
    pub(super) evicted_elsewhere: Vec<CancellationToken>,
    /// Whether it waits for other gateways.
    pub(super) waits_for_others: bool,
    /// Set at the release, after which nothing can be claimed. A call that outlives its connection
    /// must not leave a claim behind.
    pub(super) released: bool,
}

impl Holdings {
    /// Learns who holds a key at another gateway.
    pub(super) fn learn(&mut self, key: String, holder: Holder) {
        self.learned.retain(|(of, _)| *of != key);
        self.learned.push((key, holder));
    }

    /// Remembers that it was told of a provisional claim.
    pub(super) fn told(&mut self, key: &str, fate: &Arc<Fate>) {
        let is_known = self.told.iter().any(|(_, known)| Arc::ptr_eq(known, fate));
        // A policy that is told of more may decide by what is outdated.
        if !is_known && self.told.len() < MAX_TOLD {
            self.told.push((key.to_owned(), Arc::clone(fate)));
        }
    }

    /// Keys that were claimed after `mark`, with their earlier holders.
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

impl Session {
    fn new(facts: Arc<Facts>, shadow_of: Option<Original>) -> Self {
        Self {
            facts,
            held: Mutex::default(),
            notice: OnceLock::new(),
            noticed: CancellationToken::new(),
            notices: Notices::default(),
            user: OnceLock::new(),
            resumes: OnceLock::new(),
            ended: CancellationToken::new(),
            expires_at: AtomicU64::new(u64::MAX),
            decide_by: Mutex::default(),
            is_elsewhere: AtomicBool::new(false),
            shadow_of,
        }
    }

    /// Shadow of `real` as it was at `mark` with these attributes. Nothing that a shadow does
    /// affects others.
    #[must_use]
    pub fn shadow(real: &Arc<Self>, attributes: Vec<(String, String)>, mark: Mark) -> Arc<Self> {
        let facts = real.facts.with_attributes(attributes);
        let held = real.lock();
        let original = Original {
            session: Arc::clone(real),
            why: Copied::Shadow,
            since: held.since(mark),
            learned: held.learned.clone(),
        };
        drop(held);
        let shadow = Self::new(Arc::new(facts), Some(original));
        // Whoever is only watched waits no longer than the original does.
        if let Some(end) = real.decide_by() {
            shadow.must_be_decided_by(end);
        }
        if let Some(user) = real.user() {
            shadow.identify(user);
        }
        Arc::new(shadow)
    }

    /// Copy of `real` whose client comes with another token, for policies to decide about. Nothing
    /// that it does affects others.
    #[must_use]
    pub fn renewal(real: &Arc<Self>, token: Arc<str>) -> Arc<Self> {
        let original = Original {
            session: Arc::clone(real),
            why: Copied::Renewal,
            since: Vec::new(),
            learned: Vec::new(),
        };
        let facts = real.facts.with_token(token);
        let renewal = Self::new(Arc::new(facts), Some(original));
        // Failures count for the client that is known.
        if let Some(user) = real.user() {
            renewal.identify(user);
        }
        Arc::new(renewal)
    }

    /// Adds notices to those that the client is sent once it streams.
    pub fn notify(&self, notices: Vec<ClientNotice>) -> Notified {
        self.notices.add(notices)
    }

    /// Takes the notices that the client has not been sent.
    #[must_use]
    pub fn take_notices(&self) -> Vec<ClientNotice> {
        self.notices.take()
    }

    /// Whether it is a shadow, about which nothing is decided.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        let original = self.shadow_of.as_ref();
        original.is_some_and(|original| original.why == Copied::Shadow)
    }

    /// Whether it is a shadow or a renewal: a copy of a session, which affects nothing but itself.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.shadow_of.is_some()
    }

    /// Takes over the token of a renewal, and the expiry of its admission.
    pub fn renewed(&self, renewal: &Self) {
        if let Some(token) = renewal.facts.renewed() {
            self.facts.renew(token);
        }
        let at = renewal.expires_at.load(Ordering::Relaxed);
        self.expires_at.store(at, Ordering::Relaxed);
    }

    /// Sets the time when its admission must be decided.
    pub fn must_be_decided_by(&self, end: Instant) {
        *self
            .decide_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    /// Time when its admission must be decided, if there is one.
    #[must_use]
    pub fn decide_by(&self) -> Option<Instant> {
        *self
            .decide_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the user, once a policy has verified it.
    pub fn identify(&self, user: &str) {
        // The first policy that knows the user counts.
        let _ = self.user.set(user.into());
    }

    /// User that a policy has verified.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.get().map(|user| &**user)
    }

    /// Keys that it holds, in the order in which it claimed them.
    #[must_use]
    pub fn claims(&self) -> Vec<String> {
        let held = self.lock();
        held.claims.iter().map(|(key, _)| key.clone()).collect()
    }

    /// Expiry of its admission, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        let at = self.expires_at.load(Ordering::Relaxed);
        (at != u64::MAX).then_some(at)
    }

    /// Waits until another connection takes over, or an operator ends this one.
    pub async fn evicted(&self) -> Notice {
        loop {
            self.noticed.cancelled().await;
            // The notice is set before the token is cancelled.
            if let Some(notice) = self.notice.get() {
                return notice.clone();
            }
        }
    }

    /// Whether it was told to end.
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

    /// Waits until every session at another gateway that this one evicted has ended, or nobody can
    /// tell.
    pub async fn evicted_elsewhere_have_ended(&self) {
        let evicted = std::mem::take(&mut self.lock().evicted_elsewhere);
        for ended in evicted {
            ended.cancelled().await;
        }
    }

    /// Sets the expiry of this connection's admission, in seconds since 1970. The earliest counts.
    pub fn expires(&self, at: u64) {
        self.expires_at.fetch_min(at, Ordering::Relaxed);
    }

    /// Time until the admission of this connection expires.
    #[must_use]
    pub fn expires_in(&self) -> Option<Duration> {
        let at = self.expires_at()?;
        let left = at.saturating_mul(1000).saturating_sub(unix_ms());
        Some(Duration::from_millis(left))
    }

    /// Records that this session came back for the stream of another session.
    pub fn resumes(&self, session_id: &Arc<str>) {
        // A session resumes at most one stream.
        let _ = self.resumes.set(Arc::clone(session_id));
    }

    /// Notes that its stream goes on at another gateway, which takes its claims over.
    pub fn goes_on_elsewhere(&self) {
        self.is_elsewhere.store(true, Ordering::Relaxed);
    }

    /// Whether its stream goes on at another gateway.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.is_elsewhere.load(Ordering::Relaxed)
    }

    /// Whether both sessions belong to the same stream, which one of them began or both came back
    /// for.
    pub(super) fn returns_to(&self, other: &Self) -> bool {
        self.resumes.get() == Some(other.stream())
    }

    /// Whether it came back for a stream.
    pub(super) fn is_returning(&self) -> bool {
        self.resumes.get().is_some()
    }

    /// ID of the session that began its stream.
    pub(super) fn stream(&self) -> &Arc<str> {
        self.resumes.get().unwrap_or(&self.facts.session_id)
    }

    /// Ends the connection at an operator's word, or the stream that waits for its client.
    pub fn end(&self, reason: &str) {
        self.tell(Notice::EndedByOperator(reason.to_owned()));
    }

    /// Ends the connection with this notice.
    pub(super) fn tell(&self, notice: Notice) {
        // The first notice stays, because the connection ends only once.
        let _ = self.notice.set(notice);
        self.noticed.cancel();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Holdings> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Owner of a session. Dropping it releases everything that the session holds.
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
