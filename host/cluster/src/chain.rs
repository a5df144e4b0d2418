//! Chain: a sequence of bytes in one subject, with one writer at a time.
//!
//! Each message names the one that it follows, by its sequence number, and the server stores it
//! only if that is still the last one. So the messages of a subject are a chain without a hole,
//! whoever writes. Whoever takes a chain over first writes a *fence*, which holds the number of the
//! new epoch. After that, whatever the writer before still sends follows a message that is no
//! longer the last, and is refused. Nobody decides by reading: a server that is cut off from the
//! others answers with what it had, but stores nothing.
//!
//! A message whose fate is unknown is written again with the same expectation. It is stored once,
//! or found to have been stored.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::connection::{Away, Cluster};
use crate::place::Place;
use crate::publish::Attempt;
use crate::record::{Content, Fin, Record};
use base::{instance, metrics};

/// Pause before a message is written again whose fate is unknown: the shortest and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));
/// The same while another message of the subject is being written. A leader that has lost the others
/// says so of an earlier attempt until it steps down.
const BUSY: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));
/// The same while there is no room.
const FULL: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));
/// Pause while a server does not know yet what came before.
const UNCLEAR: Duration = Duration::from_millis(20);

/// Chain that this process writes.
#[derive(Debug)]
pub struct Chain {
    cluster: Cluster,
    place: Place,
    writer: String,
    epoch: u64,
    /// Sequence number of the last message.
    last: u64,
    /// Number of bytes.
    bytes: u64,
}

/// Reason why a chain cannot be written any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Another writer has taken it over.
    #[error("another gateway has taken the stream over")]
    TakenOver,
    /// It has ended.
    #[error("the stream has ended with {0} bytes")]
    Ended(u64),
    /// It was removed, or its subject has a message of somebody else.
    #[error("the messages of {0} are gone, or are not a gateway's")]
    Gone(String),
    /// It cannot be stored.
    #[error("NATS does not store it: {0}")]
    Refused(String),
}

impl Chain {
    /// Begins a chain. `about` says what it is, as JSON in ASCII. Repeats it until it succeeds: the
    /// caller limits the time.
    ///
    /// # Errors
    /// [`ChainError`].
    pub async fn begin(cluster: Cluster, place: Place, about: String) -> Result<Self, ChainError> {
        let mut chain = Self::before(cluster, place, 0, 0);
        chain.write(Content::Fence(about)).await?;
        Ok(chain)
    }

    /// Takes a chain over from whoever writes it. Repeats it until it succeeds: the caller limits
    /// the time.
    ///
    /// # Errors
    /// [`ChainError`]. It is [`ChainError::TakenOver`] if another writer was quicker.
    pub async fn take(cluster: Cluster, place: Place, about: String) -> Result<Self, ChainError> {
        Self::take_from(cluster, place, about, None).await
    }

    /// Takes a chain over as [`Chain::take`] does, if its writer is the one of this name.
    ///
    /// # Errors
    /// [`ChainError`]. It is [`ChainError::TakenOver`] if it has another writer.
    pub async fn take_from(
        cluster: Cluster,
        place: Place,
        about: String,
        writer: Option<&str>,
    ) -> Result<Self, ChainError> {
        let mut pauses = Pauses::default();
        let mut tried = None;
        loop {
            let end = match cluster.end(&place).await {
                Ok(end) => end,
                Err(away) => {
                    pauses.after(&away).await;
                    continue;
                }
            };
            let gone = || ChainError::Gone(place.subject.clone());
            let (last, record) = match end {
                Some(end) => (end.sequence, Some(end.record.ok_or_else(gone)?)),
                None => (0, None),
            };
            if let Some(Content::Fin(_)) = record.as_ref().map(|record| &record.content) {
                return Err(ChainError::Ended(record.map_or(0, |record| record.end())));
            }
            let found = record.as_ref().map(|record| &*record.writer);
            if writer.is_some() && found != writer {
                return Err(ChainError::TakenOver);
            }
            let epoch = record.as_ref().map_or(0, |record| record.epoch);
            if tried.is_some_and(|tried| epoch >= tried) {
                return Err(ChainError::TakenOver);
            }
            let bytes = record.as_ref().map_or(0, Record::end);
            let mut chain = Self::before(cluster.clone(), place.clone(), epoch, bytes);
            chain.last = last;
            match chain.write(Content::Fence(about.clone())).await {
                // Only this proves that there was nothing.
                Ok(()) if last == 0 => return Err(gone()),
                Ok(()) => return Ok(chain),
                // The writer before was quicker with one more message, or another one took over.
                Err(ChainError::TakenOver) => tried = Some(chain.epoch),
                Err(ChainError::Gone(_)) if last == 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Chain before its fence, behind the epoch that is over.
    fn before(cluster: Cluster, place: Place, epoch: u64, bytes: u64) -> Self {
        let nonce = fastrand::u64(..);
        Self {
            cluster,
            place,
            writer: format!("{}-{nonce:016x}", instance::id()),
            epoch: epoch + 1,
            last: 0,
            bytes,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Name of this writer.
    #[must_use]
    pub fn writer(&self) -> &str {
        &self.writer
    }

    /// Connection with which it is written.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Number of its bytes that are stored.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends bytes. They are stored when it returns. Repeats it until it succeeds: the caller
    /// limits the time. A chain whose append was given up must not be written any more.
    ///
    /// # Errors
    /// [`ChainError`].
    pub async fn append(&mut self, bytes: Bytes) -> Result<(), ChainError> {
        self.write(Content::Bytes(bytes)).await
    }

    /// Ends the chain, as [`Chain::append`] does.
    ///
    /// # Errors
    /// [`ChainError`].
    pub async fn finish(mut self, fin: Fin) -> Result<u64, ChainError> {
        self.write(Content::Fin(fin)).await?;
        Ok(self.bytes)
    }

    async fn write(&mut self, content: Content) -> Result<(), ChainError> {
        let began = Instant::now();
        let _pending = self.cluster.pending();
        let record = Record {
            epoch: self.epoch,
            from: self.bytes,
            writer: self.writer.clone(),
            content,
        };
        let mut pauses = Pauses::default();
        loop {
            let stored = match self.cluster.attempt(&self.place, self.last, &record).await {
                Attempt::Stored(sequence) => Some(sequence),
                Attempt::Lost => self.find(&record).await?,
                Attempt::Busy => {
                    pauses.between(BUSY).await;
                    None
                }
                Attempt::Refused(why) => return Err(ChainError::Refused(why)),
                // Newcomers do not wait for room, and who comes back may come later.
                Attempt::Full(why) if matches!(record.content, Content::Fence(_)) => {
                    return Err(ChainError::Refused(why));
                }
                Attempt::Full(why) => {
                    tracing::debug!(why, "there is no room for a message of a chain");
                    pauses.between(FULL).await;
                    None
                }
                Attempt::Unknown(away) => {
                    pauses.after(&away).await;
                    None
                }
            };
            if let Some(sequence) = stored {
                metrics::cluster_written(began.elapsed());
                self.last = sequence;
                self.bytes = record.end();
                return Ok(());
            }
        }
    }

    /// Finds what came before a message: itself, by an earlier attempt, or another writer's. `None`
    /// if that is not known yet.
    async fn find(&self, record: &Record) -> Result<Option<u64>, ChainError> {
        let gone = || ChainError::Gone(self.place.subject.clone());
        match self.cluster.end(&self.place).await {
            Ok(Some(end)) => {
                let found = end.record.ok_or_else(gone)?;
                let is_ours = found.writer == self.writer;
                if is_ours && end.sequence > self.last && is_same(&found, record) {
                    return Ok(Some(end.sequence));
                }
                // A fence that fails because of a message of the epoch before: it is tried again
                // behind that.
                let is_behind = matches!(record.content, Content::Fence(_));
                if found.epoch > self.epoch || !is_ours && found.epoch == self.epoch {
                    return Err(ChainError::TakenOver);
                }
                if is_behind && end.sequence > self.last {
                    return Err(ChainError::TakenOver);
                }
            }
            // What it stored was removed.
            Ok(None) if self.last > 0 => return Err(gone()),
            Ok(None) => {}
            Err(away) => tracing::debug!(subject = self.place.subject, %away, "the end of a chain"),
        }
        // A server that is cut off does not know yet.
        sleep(UNCLEAR).await;
        Ok(None)
    }
}

/// Whether a message is an earlier attempt to write another.
fn is_same(found: &Record, record: &Record) -> bool {
    found.epoch == record.epoch && found.from == record.from && found.len() == record.len()
}

/// Pauses between attempts.
#[derive(Default)]
struct Pauses(u32);

impl Pauses {
    /// Waits after an attempt whose result is unknown.
    async fn after(&mut self, away: &Away) {
        tracing::debug!(%away, "a message of a chain is written again");
        self.between(PAUSES).await;
    }

    /// Waits for a random part of a pause that grows.
    async fn between(&mut self, (shortest, longest): (Duration, Duration)) {
        let most = shortest.saturating_mul(1 << self.0.min(10)).min(longest);
        self.0 += 1;
        sleep(most.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}
