//! One key: its record, as this gateway knows it, and how it changes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use session::registry::shared::{Granted, Over, SharedClaim, SharedClaimError};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::record::{ClaimRecord, json};
use super::records::{Found, Written};
use crate::connection::Away;
use base::text;

/// Time for which the mark of a removed record stays.
const MARK: Duration = Duration::from_secs(60);
/// Age at which a record is written again, long before it is removed.
const OLD: Duration = Duration::from_secs(24 * 3600);
/// Pause after an attempt whose result is unknown: at least, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// Key whose record this gateway writes. Changes take the lock in the order of the calls.
pub(super) struct Key {
    name: String,
    /// Name of the record: a digest, because a key may hold any character, and what clients say.
    record: String,
    pub(super) recorded: Arc<tokio::sync::Mutex<Recorded>>,
    following: Mutex<Following>,
}

/// Whether a task follows the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Following {
    Nobody,
    Once,
    /// There was a change since it began.
    Again,
}

/// Record of a key, as this gateway knows it.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// Sequence number of the latest record that is known; 0 if there is none.
    after: u64,
    /// Claim of this gateway, if that is the latest record.
    ours: Option<Ours>,
    /// Whether a write may still be stored whose answer is missing.
    in_doubt: bool,
}

#[derive(Debug)]
struct Ours {
    session_id: Arc<str>,
    stream: Arc<str>,
    incarnation: u64,
    at: Instant,
}

/// What is known of a record that is another one than was expected.
enum Looked {
    /// The key may be taken, from this holder if it has one.
    Free(Option<ClaimRecord>),
    /// This gateway has written it, now or before.
    Here,
    /// The key stays with its holder.
    Held(ClaimRecord),
    /// The session's own stream has it.
    OwnStream,
}

impl Key {
    pub(super) fn new(key: &str) -> Self {
        Self {
            name: key.to_owned(),
            record: format!("key.{}", text::hex(&Sha256::digest(key))),
            recorded: Arc::default(),
            following: Mutex::new(Following::Nobody),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a task has to begin that follows the registry. If there is one, it looks once more.
    pub(super) fn must_follow(&self) -> bool {
        let mut following = self.following();
        let before = *following;
        *following = match before {
            Following::Nobody => Following::Once,
            Following::Once | Following::Again => Following::Again,
        };
        before == Following::Nobody
    }

    /// Whether the task that follows has seen every change, and ends.
    pub(super) fn has_followed(&self) -> bool {
        let mut following = self.following();
        let before = *following;
        *following = match before {
            Following::Again => Following::Once,
            Following::Nobody | Following::Once => Following::Nobody,
        };
        before != Following::Again
    }

    /// Whether a task follows the registry.
    pub(super) fn is_followed(&self) -> bool {
        *self.following() != Following::Nobody
    }

    // Every change is one assignment, so poisoning does not matter.
    fn following(&self) -> std::sync::MutexGuard<'_, Following> {
        self.following
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorded {
    /// Whether nothing is known that another look would not find.
    pub(super) fn is_blank(&self) -> bool {
        self.ours.is_none() && !self.in_doubt
    }

    /// Notes that another gateway has taken the key with this record. Returns whether it has not come
    /// back since.
    pub(super) fn taken_at(&mut self, sequence: u64) -> bool {
        if self.after < sequence {
            self.after = sequence;
            self.ours = None;
        }
        self.after == sequence && self.ours.is_none()
    }

    fn session(&self) -> Option<Arc<str>> {
        self.ours.as_ref().map(|ours| Arc::clone(&ours.session_id))
    }

    /// Whether the record says that this session holds the key.
    fn is_of(&self, claim: &SharedClaim, incarnation: u64) -> bool {
        let ours = self.ours.as_ref().filter(|_| !self.in_doubt);
        ours.is_some_and(|ours| {
            ours.session_id == claim.session_id
                && ours.incarnation == incarnation
                && ours.at.elapsed() < OLD
        })
    }
}

impl Shared {
    /// Writes that a session here holds the key. Only a write that succeeds gives it the key.
    pub(super) async fn take(
        &self,
        key: &Key,
        recorded: &mut Recorded,
        claim: &SharedClaim,
        over: &Over,
        deadline: Instant,
    ) -> Result<Granted, SharedClaimError> {
        let ours = recorded.ours.as_ref();
        if *over == Over::StreamLater && ours.is_some_and(|ours| ours.stream == claim.stream) {
            // Also while the servers are away: the client comes back to what goes on here.
            return Ok(Granted::Later);
        }
        let mut loser = None;
        let mut last = Away::Slow(super::PATIENCE);
        loop {
            let Some(incarnation) = self.lease.held_before(deadline).await else {
                let why = format!("this gateway holds no lease: {last}");
                return Err(SharedClaimError::Away(why));
            };
            if recorded.is_of(claim, incarnation) {
                return Ok(Granted::Now(None));
            }
            let record = ClaimRecord::of(claim, &self.gateway, incarnation);
            let written = self.write(key, recorded, json(&record), None).await;
            let failed = match written {
                Ok(Written::At(sequence)) => {
                    recorded.ours = Some(Ours {
                        session_id: Arc::clone(&claim.session_id),
                        stream: Arc::clone(&claim.stream),
                        incarnation,
                        at: Instant::now(),
                    });
                    // A record of an incarnation that has ended keeps nobody out.
                    if self.lease.holds(incarnation) {
                        let evicted =
                            loser.and_then(|loser| self.evict(key, over, loser, sequence));
                        return Ok(Granted::Now(evicted));
                    }
                    continue;
                }
                Ok(Written::Lost) => match self.look(key, recorded, claim, over).await {
                    Ok(Looked::Free(before)) => {
                        loser = before;
                        None
                    }
                    Ok(Looked::Here) => None,
                    Ok(Looked::Held(record)) => {
                        return Err(SharedClaimError::Held(record.holder()));
                    }
                    Ok(Looked::OwnStream) => return Ok(Granted::Later),
                    Err(away) => Some(away),
                },
                Err(away) => Some(away),
            };
            if let Some(away) = failed {
                last = away;
                pause().await;
            }
            if Instant::now() >= deadline {
                return Err(SharedClaimError::Away(last.to_string()));
            }
        }
    }

    /// Writes the record of a key in place of the latest that is known.
    async fn write(
        &self,
        key: &Key,
        recorded: &mut Recorded,
        content: Vec<u8>,
        life: Option<Duration>,
    ) -> Result<Written, Away> {
        // Before it is sent, because nobody may wait for the answer.
        let was_in_doubt = std::mem::replace(&mut recorded.in_doubt, true);
        let writing = self
            .records
            .write(&key.record, recorded.after, content, life);
        let written = writing.await;
        match &written {
            Ok(Written::At(sequence)) => {
                recorded.after = *sequence;
                // What was written with this expectation before can never be stored any more.
                recorded.in_doubt = false;
                recorded.ours = None;
            }
            Ok(Written::Lost) | Err(Away::NotConnected) => recorded.in_doubt = was_in_doubt,
            Err(_) => {}
        }
        written
    }

    /// Finds who holds a key whose record is another one than was expected.
    async fn look(
        &self,
        key: &Key,
        recorded: &mut Recorded,
        claim: &SharedClaim,
        over: &Over,
    ) -> Result<Looked, Away> {
        let found = self.records.read(&key.record).await?;
        let Found { sequence, content } = found.unwrap_or(Found {
            sequence: 0,
            content: Vec::new(),
        });
        if sequence == recorded.after {
            // A server that is cut off does not know yet what came after it.
            return Err(Away::Failed("the record is not known yet".to_owned()));
        }
        // A write that is in doubt was stored, or can never be any more, unless this server is cut off
        // and does not know what came before it.
        recorded.in_doubt &= sequence < recorded.after;
        recorded.after = sequence;
        recorded.ours = None;
        if content.is_empty() {
            return Ok(Looked::Free(None));
        }
        let Some(record) = ClaimRecord::read(&content) else {
            let why = "the record of a claim is of another version of Sluice, or broken";
            return Err(Away::Failed(why.to_owned()));
        };
        // Within a gateway its registry decides.
        if record.gateway == self.gateway {
            return Ok(Looked::Here);
        }
        let is_own_stream = *record.stream == *claim.stream;
        match over {
            Over::StreamLater if is_own_stream => return Ok(Looked::OwnStream),
            Over::Stream if is_own_stream => return Ok(Looked::Free(None)),
            Over::Session(id, _) if *id == record.session_id => {
                return Ok(Looked::Free(Some(record)));
            }
            _ => {}
        }
        let ended = self.lease.has_ended(&record.gateway, record.incarnation);
        Ok(match ended.await? {
            true => Looked::Free(None),
            false => Looked::Held(record),
        })
    }

    /// Makes the record of a key say what the registry says. Ends the sessions here that hold a key
    /// which another gateway has.
    pub(super) async fn settle(&self, key: &Key) -> Result<(), Away> {
        let mut recorded = key.recorded.lock().await;
        let known = recorded.session();
        let Some(claim) = self.registry.claim_here(&key.name, known.as_deref()) else {
            return self.remove(key, &mut recorded).await;
        };
        let deadline = Instant::now() + super::PATIENCE;
        let taken = self.take(key, &mut recorded, &claim, &Over::Stream, deadline);
        match taken.await {
            Ok(_) => Ok(()),
            Err(SharedClaimError::Away(why)) => Err(Away::Failed(why)),
            Err(SharedClaimError::Held(holder)) => {
                tracing::warn!(
                    session_id = &*claim.session_id,
                    by = holder.session_id,
                    "another gateway has taken a key of this session, which ends"
                );
                drop(recorded);
                drop(self.registry.supersede(&key.name, None));
                Ok(())
            }
        }
    }

    /// Removes the record, if it is this gateway's, or may be.
    async fn remove(&self, key: &Key, recorded: &mut Recorded) -> Result<(), Away> {
        while !recorded.is_blank() {
            match self.write(key, recorded, Vec::new(), Some(MARK)).await? {
                Written::At(_) => {}
                Written::Lost if recorded.in_doubt => {
                    let found = self.records.read(&key.record).await?;
                    let Some(Found { sequence, content }) = found else {
                        *recorded = Recorded::default();
                        return Ok(());
                    };
                    if sequence == recorded.after {
                        return Err(Away::Failed("the record is not known yet".to_owned()));
                    }
                    recorded.after = sequence;
                    let record = ClaimRecord::read(&content);
                    recorded.in_doubt = record.is_some_and(|it| it.gateway == self.gateway);
                    recorded.ours = None;
                }
                // It is another gateway's.
                Written::Lost => recorded.ours = None,
            }
        }
        Ok(())
    }

    /// Tells the gateway of a session that it was evicted. Gives what is cancelled once it has ended.
    fn evict(
        &self,
        key: &Key,
        over: &Over,
        loser: ClaimRecord,
        sequence: u64,
    ) -> Option<CancellationToken> {
        let Over::Session(_, notice) = over else {
            return None;
        };
        Some(self.tell_evicted(&key.name, loser, sequence, notice))
    }
}

async fn pause() {
    let (least, most) = PAUSE;
    sleep(least + (most - least).mul_f64(fastrand::f64())).await;
}
