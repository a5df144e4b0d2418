//! Sharing of claims with other gateways.
//!
//! A policy's call works on the registry of its gateway, and never waits. What it claims there is
//! *provisional*. Once the call has accepted, the gateway commits its claims at all gateways. If one
//! of them cannot be had, the call is undone, the session learns who holds the key, and the policy is
//! asked again. Whoever was told of a provisional claim waits until that is settled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::timeout;

use super::session::{Claim, Session};
use super::shared::{Granted, Over, SharedClaim, SharedClaimError, SharedClaims};
use super::standing::{Fate, Outcome, Standing};
use super::{Mark, Notice, Registry};
use base::rejection::Rejection;

/// Maximum time that a session waits for the provisional claims of others.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reason why what a call claimed does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Uncommitted {
    /// The session knows now who holds a key: the policy can be asked again.
    #[error("another gateway holds a key")]
    Held,
    /// It is not known who holds a key.
    #[error("{0}")]
    Away(String),
}

/// Notice to a session whose key another gateway has.
fn lost() -> Rejection {
    let message = "another gateway has what this session held";
    Rejection::new(4003, "superseded", message)
}

impl Registry {
    /// Shares its claims with other gateways from now on.
    pub fn share(&self, shared: Arc<dyn SharedClaims>) {
        // A gateway shares them with one set of gateways.
        let _ = self.shared.set(shared);
    }

    /// Whether its claims are shared with other gateways.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared.get().is_some()
    }

    /// Asks another gateway to let go of a stream that goes on here, which this session had there.
    pub fn let_go(&self, gateway: &str, stream: &str, session_id: &str) {
        if let Some(shared) = self.shared.get() {
            shared.let_go(gateway, stream, session_id);
        }
    }

    /// Waits until other gateways know what was released, before the process ends.
    pub async fn close(&self) {
        if let Some(shared) = self.shared.get() {
            shared.close().await;
        }
    }

    /// Forgets what `session` has learned of other gateways, before another policy is asked.
    pub fn unlearn(&self, session: &Session) {
        if self.is_shared() {
            let mut held = session.lock();
            held.learned.clear();
            held.told.clear();
        }
    }

    /// Undoes what `session` claimed after `mark`, if its policy refuses it for claims of others that
    /// are provisional: two sessions must not wait for each other.
    pub fn give_way(&self, session: &Arc<Session>, mark: Mark) {
        if !session.lock().told.is_empty() {
            self.undo(session, mark);
        }
    }

    /// Waits until the claims of others are settled that `session` was told of since it was last
    /// asked.
    ///
    /// # Errors
    /// [`Uncommitted::Held`] if one of them was undone, so that the answer is outdated.
    pub async fn answers_hold(&self, session: &Session) -> Result<(), Uncommitted> {
        let told = session.lock().told.clone();
        if told.is_empty() {
            return Ok(());
        }
        session.lock().waits_for_others = true;
        let result = Self::told_holds(session, told);
        let result = timeout(PATIENCE, result).await.unwrap_or_else(|_| {
            let why = "another session waits for the key, and NATS does not answer";
            Err(Uncommitted::Away(why.to_owned()))
        });
        let mut held = session.lock();
        held.waits_for_others = false;
        if !matches!(result, Err(Uncommitted::Away(_))) {
            held.told.clear();
        }
        drop(held);
        result
    }

    /// Forgets which claims of others `session` was told of, before its policy is asked again.
    pub fn untell(&self, session: &Session) {
        session.lock().told.clear();
    }

    /// Whether `session` waits for other gateways. It does for ever if nobody polls what waits.
    #[must_use]
    pub fn waits_for_others(&self, session: &Session) -> bool {
        session.lock().waits_for_others
    }

    async fn told_holds(
        session: &Session,
        told: Vec<(String, Arc<Fate>)>,
    ) -> Result<(), Uncommitted> {
        let mut result = Ok(());
        for (key, fate) in told {
            if let Outcome::Undone(holder) = fate.outcome().await {
                if let Some(holder) = holder {
                    session.lock().learn(key, holder);
                }
                result = Err(Uncommitted::Held);
            }
        }
        result
    }

    /// Makes what `session` claimed after `mark` hold at all gateways. Its claims stay provisional
    /// if the future is dropped. Nobody is evicted before all else is certain, also what the session
    /// was told.
    ///
    /// # Errors
    /// [`Uncommitted`]. The caller undoes the claims.
    pub async fn commit(&self, session: &Arc<Session>, mark: Mark) -> Result<(), Uncommitted> {
        let Some(shared) = self.shared.get() else {
            return Ok(());
        };
        let (evicting, others): (Vec<_>, Vec<_>) = self
            .provisional(session, mark)
            .into_iter()
            .partition(|(_, over)| matches!(over, Over::Session(..)));
        self.commit_these(&**shared, session, others).await?;
        self.answers_hold(session).await?;
        self.commit_these(&**shared, session, evicting).await?;
        let notices = std::mem::take(&mut session.lock().notices);
        for (_, loser, notice) in notices {
            loser.tell(Notice::Superseded(notice));
        }
        Ok(())
    }

    async fn commit_these(
        &self,
        shared: &dyn SharedClaims,
        session: &Arc<Session>,
        claims: Vec<(SharedClaim, Over)>,
    ) -> Result<(), Uncommitted> {
        for (claim, over) in claims {
            let key = claim.key.clone();
            session.lock().waits_for_others = true;
            let claimed = shared.claim(claim, over).await;
            session.lock().waits_for_others = false;
            match claimed {
                Ok(granted) => self.granted(session, &key, granted),
                Err(SharedClaimError::Held(holder)) => {
                    self.settle(session, &key, &Outcome::Undone(Some(holder.clone())));
                    session.lock().learn(key, holder);
                    return Err(Uncommitted::Held);
                }
                Err(SharedClaimError::Away(why)) => return Err(Uncommitted::Away(why)),
            }
        }
        Ok(())
    }

    /// Takes over the keys of the stream that `session` came back for, which is now its own. What
    /// cannot be had ends the session. The caller limits the time.
    pub async fn take_over(&self, session: &Arc<Session>) {
        let Some(shared) = self.shared.get() else {
            return;
        };
        let returning = {
            let claims = self.lock();
            let keys = session.claims();
            let own = keys.iter().filter_map(|key| {
                let mut own = claims.all(key);
                own.find(|claim| claim.is_of(session))
                    .filter(|claim| matches!(claim.standing, Standing::Returning))
                    .map(|claim| claim.shared(key))
            });
            own.collect::<Vec<_>>()
        };
        for claim in returning {
            let key = claim.key.clone();
            // First, so that it counts also if nobody waits for the rest.
            self.stands(session, &key, &Standing::Held);
            match shared.claim(claim, Over::Stream).await {
                Ok(_) => {}
                Err(SharedClaimError::Held(_)) => session.tell(Notice::Superseded(lost())),
                Err(SharedClaimError::Away(_)) => shared.follow(&key),
            }
        }
    }

    /// Keeps what a session claims for its stream, before it is certain that the stream is here.
    pub fn restoring(&self, session: &Arc<Session>) {
        if self.is_shared() {
            for key in session.claims() {
                self.stands(session, &key, &Standing::Returning);
            }
        }
    }

    /// Counts what a session claims as its own, because its stream is here. Other gateways are told in
    /// the background.
    pub fn restored(&self, session: &Arc<Session>) {
        let Some(shared) = self.shared.get() else {
            return;
        };
        for key in session.claims() {
            self.stands(session, &key, &Standing::Held);
            shared.follow(&key);
        }
    }

    /// Keys that are held here.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.lock().by_key.keys().cloned().collect()
    }

    /// Claim on a key that other gateways should know: of the session `known`, which they know, as
    /// long as it has one here, else the latest.
    #[must_use]
    pub fn claim_here(&self, key: &str, known: Option<&str>) -> Option<SharedClaim> {
        let claims = self.lock();
        let all = || claims.all(key).rev();
        let is_known = |claim: &&Claim| known == Some(&*claim.session.facts.session_id);
        // A session that ends does not take back what another gateway has.
        let ends = |claim: &Claim| claim.session.is_evicted() || claim.session.is_elsewhere();
        let held = |claim: &&Claim| claim.holds() && (known.is_some() || !ends(claim));
        // It takes over from the session that has ended.
        let returning =
            |claim: &&Claim| known.is_some() && matches!(claim.standing, Standing::Returning);
        let found = all().find(is_known);
        let found = found.or_else(|| all().find(held));
        let found = found.or_else(|| all().find(returning));
        found.map(|claim| claim.shared(key))
    }

    /// Ends the sessions that hold a key here, because another gateway has it. The future is ready
    /// once they have ended.
    pub fn supersede(&self, key: &str, notice: Option<&Rejection>) -> BoxFuture<'static, ()> {
        let losers: Vec<_> = {
            let claims = self.lock();
            let losers = claims
                .all(key)
                .filter(|claim| claim.standing.fate().is_none());
            losers.map(|claim| Arc::clone(&claim.session)).collect()
        };
        for loser in &losers {
            let notice = notice.cloned().unwrap_or_else(lost);
            loser.tell(Notice::Superseded(notice));
        }
        let ended = losers.into_iter().map(|loser| async move {
            loser.ended.cancelled().await;
        });
        join_all(ended).map(drop).boxed()
    }

    /// Tells other gateways that these keys may have another holder here.
    pub(super) fn follow(&self, keys: &[(String, u64)]) {
        if let Some(shared) = self.shared.get() {
            for (key, _) in keys {
                shared.follow(key);
            }
        }
    }

    /// Leaves these keys, which are free here, to another gateway where the stream of `session` goes
    /// on, or tells other gateways that they may have another holder here.
    pub(super) fn leave(&self, session: &Session, keys: &[(String, u64)]) {
        match self.shared.get() {
            Some(shared) if session.is_elsewhere() => {
                for (key, _) in keys {
                    shared.leave(key, session.stream());
                }
            }
            _ => self.follow(keys),
        }
    }

    /// Standing of a new claim of `session` on a key.
    pub(super) fn standing(&self) -> Standing {
        match self.shared.get() {
            Some(_) => Standing::provisional(),
            None => Standing::Held,
        }
    }

    /// Provisional claims of `session` after `mark`, and from whom they may be taken.
    fn provisional(&self, session: &Arc<Session>, mark: Mark) -> Vec<(SharedClaim, Over)> {
        // What a shadow claims has no effect on others.
        if session.shadow_of.is_some() {
            return Vec::new();
        }
        let claims = self.lock();
        let held = session.lock();
        let keys = held.claims.get(mark.0..).unwrap_or_default();
        let provisional = keys.iter().filter_map(|(key, fence)| {
            let claim = claims.all(key).find(|claim| claim.fence == *fence)?;
            claim.standing.fate()?;
            let over = held.over.iter().find(|(of, _)| of == key);
            let over = match over {
                Some((_, over)) => over.clone(),
                None if session.is_returning() => Over::StreamLater,
                None => Over::Nobody,
            };
            Some((claim.shared(key), over))
        });
        provisional.collect()
    }

    fn granted(&self, session: &Arc<Session>, key: &str, granted: Granted) {
        self.settle(session, key, &Outcome::Holds);
        match granted {
            Granted::Now(evicted) => {
                self.stands(session, key, &Standing::Held);
                session.lock().evicted_elsewhere.extend(evicted);
            }
            Granted::Later => self.stands(session, key, &Standing::Returning),
        }
    }

    fn settle(&self, session: &Arc<Session>, key: &str, outcome: &Outcome) {
        let claims = self.lock();
        let own = claims.all(key).filter(|claim| claim.is_of(session));
        for fate in own.filter_map(|claim| claim.standing.fate()) {
            fate.settle(outcome.clone());
        }
    }

    fn stands(&self, session: &Arc<Session>, key: &str, standing: &Standing) {
        let mut claims = self.lock();
        let all = claims.by_key.get_mut(key).into_iter().flatten();
        for claim in all.filter(|claim| claim.is_of(session)) {
            if let Some(fate) = claim.standing.fate() {
                fate.settle(Outcome::Holds);
            }
            claim.standing = standing.clone();
        }
    }
}
