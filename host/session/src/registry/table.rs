//! Table of all claims.

use std::collections::HashMap;
use std::sync::Arc;

use super::session::{Claim, Original};
use super::standing::{Outcome, Standing};
use super::{ClaimError, Holder, MAX_CLAIMS, MAX_KEY_BYTES, Session, unix_ms};

/// Claims of all sessions, by key.
#[derive(Debug, Default)]
pub(super) struct ClaimTable {
    /// Claims on each key. The last one holds the key. The sessions of those before it were evicted
    /// and have not ended. If the holder ends first, the key returns to the one before, so that
    /// nobody takes it while an evicted session is still sealing. No list is empty.
    pub(super) by_key: HashMap<String, Vec<Claim>>,
    /// Next fencing token. It grows with every claim, so a later claim on a key has the larger
    /// number, and a write on behalf of an older one can be detected.
    next_fence: u64,
}

impl ClaimTable {
    pub(super) fn all(&self, key: &str) -> impl DoubleEndedIterator<Item = &Claim> {
        self.by_key.get(key).into_iter().flatten()
    }

    pub(super) fn holder(&self, key: &str) -> Option<&Claim> {
        self.all(key).next_back()
    }

    /// Holder of a key at another gateway, if `session` has learned of one. That is outdated if a
    /// session here holds the key at all gateways.
    pub(super) fn learned(&self, session: &Session, key: &str) -> Option<Holder> {
        let mut held = session.lock();
        let holder = self.holder(key);
        if holder.is_some_and(|claim| claim.holds() && !claim.session.is_evicted()) {
            held.learned.retain(|(of, _)| of != key);
        }
        let found = held.learned.iter().find(|(of, _)| of == key);
        found.map(|(_, holder)| holder.clone())
    }

    /// Result of a claim of `shadow`, if its original made it. The session that `evicts` names is
    /// no obstacle.
    pub(super) fn look(
        &self,
        shadow: &Session,
        Original {
            session,
            since,
            learned,
            ..
        }: &Original,
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
        let elsewhere = learned.iter().find(|(of, _)| of == key);
        if let Some((_, holder)) = elsewhere {
            if evicts != Some(&holder.session_id) {
                return Err(ClaimError::Held(holder.clone()));
            }
            held.claims.push((key.to_owned(), u64::MAX));
            return Ok(());
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

    /// Puts `session` in front of the key's earlier holders.
    pub(super) fn insert(
        &mut self,
        session: &Arc<Session>,
        key: &str,
        standing: Standing,
    ) -> Result<(), ClaimError> {
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
            standing,
        });
        Ok(())
    }

    /// Removes these claims. Other claims on the same keys stay.
    pub(super) fn remove(&mut self, keys: &[(String, u64)]) {
        for (key, fence) in keys {
            let Some(claims) = self.by_key.get_mut(key) else {
                continue;
            };
            claims.retain(|claim| {
                let stays = claim.fence != *fence;
                if !stays && let Some(fate) = claim.standing.fate() {
                    fate.settle(Outcome::Undone(None));
                }
                stays
            });
            if claims.is_empty() {
                self.by_key.remove(key);
            }
        }
    }
}
