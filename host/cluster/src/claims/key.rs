//! One key: its record, as this gateway knows it, and how it changes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use session::registry::shared::{Granted, Over, SharedClaim, SharedClaimError};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::lease::Term;
use super::record::{ClaimRecord, json};
use super::records::{Found, Written};
use crate::connection::Away;
use base::rejection::Rejection;
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
    left: Mutex<Option<Arc<Left>>>,
}

/// Mark of a key that is left to the gateway where this stream goes on, which may still take it.
#[derive(Debug)]
pub(super) struct Left {
    stream: Arc<str>,
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
    latest: Latest,
    /// Whether a write may still be stored whose answer is missing, or a record of this gateway is
    /// there that no session is known for.
    in_doubt: bool,
    /// Whom a write evicts whose result is not known yet.
    evicting: Option<Evicting>,
}

/// What the latest record is that is known.
#[derive(Debug, Default)]
enum Latest {
    /// None, a removed one, or one of this gateway that no session is known for.
    #[default]
    Free,
    /// Claim of this gateway.
    Ours(Ours),
    /// Another gateway's, with this content. Nobody replaces it without a look at it.
    Foreign(Vec<u8>),
    /// Another gateway's, which has said so.
    Taken,
}

/// Session of another gateway that is evicted.
#[derive(Debug)]
struct Evicting {
    loser: ClaimRecord,
    notice: Rejection,
}

#[derive(Debug)]
struct Ours {
    session_id: Arc<str>,
    stream: Arc<str>,
    incarnation: u64,
    at: Instant,
}

/// What a read may find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The record that is known, or a later one.
    Known,
    /// A later one than is known, because a write was refused.
    Later,
}

/// What is known of a record that another gateway may have written.
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
            left: Mutex::new(None),
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

    /// Leaves the key to the gateway where this stream goes on.
    pub(super) fn leave(&self, stream: &Arc<str>) -> Arc<Left> {
        let left = Arc::new(Left {
            stream: Arc::clone(stream),
        });
        *self.left() = Some(Arc::clone(&left));
        left
    }

    /// Notes that the key was taken, or that the time for that is over, unless it was left again.
    pub(super) fn no_longer(&self, left: &Arc<Left>) {
        let mut now = self.left();
        if now.as_ref().is_some_and(|now| Arc::ptr_eq(now, left)) {
            *now = None;
        }
    }

    // Every change is one assignment, so poisoning does not matter.
    fn left(&self) -> std::sync::MutexGuard<'_, Option<Arc<Left>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.ours().is_none() && !self.in_doubt
    }

    /// Notes that another gateway has taken the key with this record. Returns whether it has not come
    /// back since.
    fn taken_at(&mut self, sequence: u64) -> bool {
        if self.after < sequence {
            self.after = sequence;
            self.latest = Latest::Taken;
            // What was to replace an earlier record is stored and replaced, or never will be.
            self.in_doubt = false;
        }
        self.after == sequence && self.ours().is_none()
    }

    fn ours(&self) -> Option<&Ours> {
        match &self.latest {
            Latest::Ours(ours) => Some(ours),
            Latest::Free | Latest::Foreign(_) | Latest::Taken => None,
        }
    }

    /// Whether the latest record that is known is another gateway's.
    fn is_foreign(&self) -> bool {
        matches!(self.latest, Latest::Foreign(_) | Latest::Taken)
    }

    fn session(&self) -> Option<Arc<str>> {
        self.ours().map(|ours| Arc::clone(&ours.session_id))
    }

    /// Whether the record says that this session holds the key.
    fn is_of(&self, claim: &SharedClaim, term: Term) -> bool {
        let ours = self.ours().filter(|_| !self.in_doubt);
        ours.is_some_and(|ours| {
            ours.session_id == claim.session_id
                && ours.incarnation == term.incarnation
                // Another gateway may have taken the key in a gap before that, and said so in vain.
                && ours.at >= term.since
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
        let taken = self.take_over(key, recorded, claim, over, deadline).await;
        if !recorded.in_doubt {
            recorded.evicting = None;
        }
        taken
    }

    async fn take_over(
        &self,
        key: &Key,
        recorded: &mut Recorded,
        claim: &SharedClaim,
        over: &Over,
        deadline: Instant,
    ) -> Result<Granted, SharedClaimError> {
        let known = recorded.ours().filter(|ours| ours.stream == claim.stream);
        // It may have left since, so that only the servers can tell.
        let was_left = key
            .left()
            .as_ref()
            .is_some_and(|left| left.stream == claim.stream);
        let may_have_left = *over == Over::StreamLater && (known.is_some() || was_left);
        if may_have_left {
            let here = self
                .registry
                .claim_here(&key.name, recorded.session().as_deref());
            let is_own =
                |it: SharedClaim| it.stream == claim.stream && it.session_id != claim.session_id;
            if here.is_some_and(is_own) {
                // Also while the servers are away: the client comes back to what goes on here.
                return Ok(Granted::Later);
            }
        }
        let mut evicted = None;
        let mut last = Away::Slow(super::PATIENCE);
        let mut must_look = recorded.is_foreign() || may_have_left;
        loop {
            let Some(term) = self.lease.held_before(deadline).await else {
                let why = format!("this gateway holds no lease: {last}");
                return Err(SharedClaimError::Away(why));
            };
            if recorded.is_of(claim, term) {
                return Ok(Granted::Now(evicted));
            }
            let looked = if let Err(away) = self.may_take(key, recorded, claim).await {
                Err(away)
            } else if must_look {
                self.look(key, recorded, claim, over, Expected::Known).await
            } else {
                let record = json(&ClaimRecord::of(claim, &self.gateway, term.incarnation));
                let began = Instant::now();
                match self.write(key, recorded, record, None).await {
                    Ok(Written::At(sequence)) => {
                        *key.left() = None;
                        recorded.latest = Latest::Ours(Ours {
                            session_id: Arc::clone(&claim.session_id),
                            stream: Arc::clone(&claim.stream),
                            incarnation: term.incarnation,
                            at: began,
                        });
                        evicted = self.tell_evicting(key, recorded, sequence).or(evicted);
                        // A record of an incarnation that has ended keeps nobody out.
                        if self.lease.holds(term.incarnation) {
                            return Ok(Granted::Now(evicted));
                        }
                        continue;
                    }
                    Ok(Written::Lost) => {
                        self.look(key, recorded, claim, over, Expected::Later).await
                    }
                    Err(away) => Err(away),
                }
            };
            match looked {
                Ok(Looked::Free(before)) => {
                    must_look = false;
                    if let (Some(loser), Over::Session(_, notice)) = (before, over) {
                        let notice = notice.clone();
                        recorded.evicting = Some(Evicting { loser, notice });
                    }
                }
                Ok(Looked::Here) => must_look = false,
                Ok(Looked::Held(record)) => return Err(SharedClaimError::Held(record.holder())),
                Ok(Looked::OwnStream) => return Ok(Granted::Later),
                Err(away) => {
                    must_look = recorded.is_foreign() || may_have_left;
                    last = away;
                    pause().await;
                }
            }
            if Instant::now() >= deadline {
                return Err(SharedClaimError::Away(last.to_string()));
            }
        }
    }

    /// Whether what was left to another gateway may be taken here: by its own stream, or once the
    /// record shows that the other gateway has had it. A read can only delay this, and never grant it.
    async fn may_take(
        &self,
        key: &Key,
        recorded: &Recorded,
        claim: &SharedClaim,
    ) -> Result<(), Away> {
        let left = key.left().clone();
        let Some(left) = left.filter(|left| left.stream != claim.stream) else {
            return Ok(());
        };
        if !recorded.is_foreign() {
            let found = self.records.read(&key.record).await?;
            let is_taken = found.is_some_and(|found| {
                let record = ClaimRecord::read(&found.content);
                let is_ours = record.is_some_and(|it| it.gateway == self.gateway);
                found.sequence > recorded.after && !is_ours
            });
            if !is_taken {
                let why = "the key is left to the gateway where its stream goes on";
                return Err(Away::Failed(why.to_owned()));
            }
        }
        key.no_longer(&left);
        Ok(())
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
                recorded.latest = Latest::Free;
            }
            Ok(Written::Lost) | Err(Away::NotConnected) => recorded.in_doubt = was_in_doubt,
            Err(_) => {}
        }
        written
    }

    /// Finds who holds a key.
    async fn look(
        &self,
        key: &Key,
        recorded: &mut Recorded,
        claim: &SharedClaim,
        over: &Over,
        expected: Expected,
    ) -> Result<Looked, Away> {
        let record = match self.find(key, recorded, expected).await? {
            Some(record) => record,
            None if !recorded.is_foreign() => return Ok(Looked::Free(None)),
            None => {
                let why = "the record of a claim is of another version of Sluice, or broken";
                return Err(Away::Failed(why.to_owned()));
            }
        };
        let is_own_stream = *record.stream == *claim.stream;
        // Also if it was here: where it goes on, its gateway may not have written that yet.
        if *over == Over::StreamLater && is_own_stream {
            return Ok(Looked::OwnStream);
        }
        // Within a gateway its registry decides.
        if record.gateway == self.gateway {
            return Ok(Looked::Here);
        }
        match over {
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

    /// Reads the record of a key. `None` if it is removed, or cannot be understood.
    async fn find(
        &self,
        key: &Key,
        recorded: &mut Recorded,
        expected: Expected,
    ) -> Result<Option<ClaimRecord>, Away> {
        let found = self.records.read(&key.record).await?;
        let Found { sequence, content } = found.unwrap_or(Found {
            sequence: 0,
            content: Vec::new(),
        });
        if sequence == recorded.after && expected == Expected::Later {
            // A server that is cut off does not know yet what came after it.
            return Err(Away::Failed("the record is not known yet".to_owned()));
        }
        let record = ClaimRecord::read(&content);
        let is_here = record.as_ref().is_some_and(|it| it.gateway == self.gateway);
        let is_later = sequence > recorded.after;
        // A write that is in doubt was stored, or can never be any more, unless this server is cut off
        // and does not know what came before it. What is there of this gateway has to be replaced or
        // removed.
        recorded.in_doubt = is_here || !is_later && !recorded.is_blank();
        if is_later && !is_here {
            let found = record.as_ref().map(|it| &*it.session_id);
            match &recorded.evicting {
                Some(evicting) if found != Some(&*evicting.loser.session_id) => {
                    self.tell_evicting(key, recorded, sequence);
                }
                // Its record is there, so that nothing has replaced it.
                _ => recorded.evicting = None,
            }
        }
        recorded.after = sequence;
        recorded.latest = match content.is_empty() || is_here {
            true => Latest::Free,
            false => Latest::Foreign(content),
        };
        Ok(record)
    }

    /// Makes the record of a key say what the registry says. Ends the sessions here that hold a key
    /// which another gateway has.
    pub(super) async fn settle(&self, key: &Key) -> Result<(), Away> {
        let mut recorded = key.recorded.lock().await;
        let known = recorded.session();
        let Some(claim) = self.registry.claim_here(&key.name, known.as_deref()) else {
            if key.left().is_some() {
                // Whoever has left it follows it once the time for that is over.
                return Ok(());
            }
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
            // An eviction in doubt must not cost the claim that it did not replace. Once that is written
            // again, whatever was to replace it before can never be stored any more.
            let stays = match &recorded.latest {
                Latest::Foreign(content) => Some(content.clone()),
                Latest::Free | Latest::Ours(_) | Latest::Taken => None,
            };
            let written = match &stays {
                Some(content) => self.write(key, recorded, content.clone(), None).await?,
                None => {
                    let mark = self.write(key, recorded, Vec::new(), Some(MARK));
                    mark.await?
                }
            };
            match (written, stays) {
                (Written::At(_), Some(content)) => {
                    recorded.evicting = None;
                    recorded.latest = Latest::Foreign(content);
                }
                (Written::At(sequence), None) => {
                    self.tell_evicting(key, recorded, sequence);
                }
                (Written::Lost, _) => {
                    self.find(key, recorded, Expected::Later).await?;
                }
            }
        }
        recorded.evicting = None;
        Ok(())
    }

    /// Notes that another gateway has taken the key with this record. Returns whether it has not come
    /// back since.
    pub(super) fn is_taken(&self, key: &Key, recorded: &mut Recorded, sequence: u64) -> bool {
        if recorded.after < sequence {
            // Whoever has the key has it from the session that evicted this one.
            self.tell_evicting(key, recorded, sequence);
        }
        recorded.taken_at(sequence)
    }

    /// Tells the gateway of a session that it was evicted, by this record. Gives what is cancelled once
    /// it has ended.
    fn tell_evicting(
        &self,
        key: &Key,
        recorded: &mut Recorded,
        sequence: u64,
    ) -> Option<CancellationToken> {
        let Evicting { loser, notice } = recorded.evicting.take()?;
        Some(self.tell_evicted(&key.name, loser, sequence, &notice))
    }
}

async fn pause() {
    let (least, most) = PAUSE;
    sleep(least + (most - least).mul_f64(fastrand::f64())).await;
}
