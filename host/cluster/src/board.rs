//! Board of what operators have told one gateway, and all must know.
//!
//! Each thing that can be told of has one record, and the latest order about it counts. A gateway
//! writes its own orders by compare-and-set, in the background, until they are stored or a later one
//! is. It reads all orders in the sequence in which they were stored, from the first one on when it
//! starts, by asking for the next one again and again: a watch can be silent for half a minute after a
//! leader is lost.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::instance;
use base::text;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use session::registry::unix_ms;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::compared::Written;
use crate::connection::{Away, Cluster};
use crate::space::{Kind, Space};

/// Version of the records.
const VERSION: u32 = 1;
/// Interval in which the next order is asked for.
const LOOK: Duration = Duration::from_millis(300);
/// Interval in which it is checked that the servers have kept the orders.
const CHECK: Duration = Duration::from_secs(5);
/// Pause before orders are written again that could not be stored: at least, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// Pause before an order is compared anew that another gateway was faster with.
const LOST: Duration = Duration::from_millis(20);
/// Time without orders after which the log says why, and interval in which it does.
const SILENT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(1));
/// Maximum time by which the clock of another gateway may be ahead, in milliseconds. An order with a
/// later time would hold against all that come after it.
const AHEAD: u64 = 24 * 3_600_000;
/// Maximum number of orders that are known: as many as a gateway has room for revocations.
const MAX: usize = 1024;
/// Maximum size of all orders.
const MAX_BYTES: u64 = 16 << 20;
/// Longest life of a record, which the servers can count.
const LONGEST: u64 = 10 * 365 * 24 * 3_600_000;

/// Orders of operators, at all gateways that share the servers.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {
    cluster: Cluster,
    known: Mutex<BTreeMap<String, Known>>,
    /// Told when an order is to be written.
    writes: Notify,
    /// Whether all orders were read that were there.
    was_read: AtomicBool,
}

/// Latest order about one thing.
struct Known {
    record: Record,
    /// Cancelled once the order is stored. `None` since then.
    unwritten: Option<CancellationToken>,
}

/// Place of an order among those about the same thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Stamp {
    at_ms: u64,
    /// Gateway where it was given.
    gateway: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    version: u32,
    #[serde(flatten)]
    stamp: Stamp,
    /// Time from which on neither it nor an order that it has replaced says anything any more.
    ends_ms: Option<u64>,
    order: serde_json::Value,
}

/// Order that was given at another gateway.
#[derive(Debug)]
pub struct Order {
    /// That gateway.
    pub gateway: String,
    /// Digest of what it is about: see [`key`].
    pub key: String,
    /// The order.
    pub order: serde_json::Value,
}

/// Obeys an order of another gateway.
pub(crate) type Obey = Box<dyn Fn(Order) -> BoxFuture<'static, ()> + Send + Sync>;

/// Error: too many orders are in force.
#[derive(Debug, thiserror::Error)]
#[error("{MAX} orders are in force at all gateways: other gateways are not told of this one")]
pub struct TooManyOrders;

/// Digest of what an order is about.
#[must_use]
pub fn key(about: &str) -> String {
    text::hex(&Sha256::digest(about))
}

impl Board {
    /// Reads the orders of other gateways from now on, and writes those that are given here.
    #[must_use]
    pub fn share(cluster: &Cluster, obey: Obey) -> Self {
        let board = Self(Arc::new(Shared {
            cluster: cluster.clone(),
            known: Mutex::default(),
            writes: Notify::new(),
            was_read: AtomicBool::new(false),
        }));
        tokio::spawn(board.clone().keep_reading(obey));
        tokio::spawn(board.clone().keep_writing());
        board
    }

    /// Gives an order about a thing, which holds until `ends_ms`, if that is limited. It is written in
    /// the background. The token is cancelled once it is stored, or a later one is.
    ///
    /// # Errors
    /// [`TooManyOrders`]
    pub fn give(
        &self,
        about: &str,
        order: serde_json::Value,
        ends_ms: Option<u64>,
    ) -> Result<CancellationToken, TooManyOrders> {
        let key = key(about);
        let now = unix_ms();
        let mut known = self.lock();
        forget_ended(&mut known, now);
        if known.len() >= MAX && !known.contains_key(&key) {
            return Err(TooManyOrders);
        }
        let before = known.get(&key);
        // The clocks of gateways differ: what is said later counts.
        let after = before.map_or(0, |before| before.record.stamp.at_ms.saturating_add(1));
        let stamp = Stamp {
            at_ms: now.max(after),
            gateway: instance::id().to_owned(),
        };
        let stored = before.and_then(|before| before.unwritten.clone());
        let stored = stored.unwrap_or_default();
        let mut record = Record {
            version: VERSION,
            stamp,
            ends_ms,
            order,
        };
        if let Some(before) = before {
            record.outlives(&before.record);
        }
        let latest = Known {
            record,
            unwritten: Some(stored.clone()),
        };
        known.insert(key, latest);
        drop(known);
        self.0.writes.notify_one();
        Ok(stored)
    }

    /// Whether all orders were read since the start.
    #[must_use]
    pub fn was_read(&self) -> bool {
        self.0.was_read.load(Ordering::Relaxed)
    }

    /// Number of orders that were given here and are not stored yet.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        let known = self.lock();
        known.values().filter(|it| it.unwritten.is_some()).count()
    }

    fn space(&self) -> Space {
        let prefix = &self.0.cluster.settings().prefix;
        Space {
            kind: Kind::Records,
            name: format!("{prefix}_ORDERS").to_ascii_uppercase(),
            // No upstream has a name with this character.
            subjects: format!("{prefix}.%orders.>"),
            max_bytes: MAX_BYTES,
            // Each order says how long it holds.
            max_age: Duration::ZERO,
        }
    }

    async fn keep_writing(self) {
        loop {
            let unwritten: Vec<_> = {
                let known = self.lock();
                let unwritten = known.iter().filter(|(_, it)| it.unwritten.is_some());
                unwritten.map(|(key, _)| key.clone()).collect()
            };
            if unwritten.is_empty() {
                self.0.writes.notified().await;
                continue;
            }
            for key in unwritten {
                if let Err(away) = self.write(&key).await {
                    tracing::debug!(%away, "other gateways are not told of an order yet");
                    let (least, most) = PAUSE;
                    sleep(least + (most - least).mul_f64(fastrand::f64())).await;
                }
            }
        }
    }

    /// Writes the latest order about a thing, unless there is a later one.
    async fn write(&self, key: &str) -> Result<(), Away> {
        let (space, cluster) = (self.space(), &self.0.cluster);
        cluster.ensure(&space).await?;
        let subject = format!("{}.%orders.{key}", cluster.settings().prefix);
        loop {
            let Some(mut record) = self.latest(key) else {
                return Ok(());
            };
            let stamp = record.stamp.clone();
            if record.left_ms() == Some(0) {
                self.is_stored(key, &stamp);
                continue;
            }
            let found = cluster.read_record(&space.name, &subject).await?;
            let before = found
                .as_ref()
                .and_then(|found| Record::read(&found.content));
            if before.as_ref().is_some_and(|before| before.stamp >= stamp) {
                self.is_stored(key, &stamp);
                continue;
            }
            if let Some(before) = &before {
                record.outlives(before);
            }
            let left = record.left_ms();
            let after = found.map_or(0, |found| found.sequence);
            // The servers count in whole seconds.
            let life = left.map(|ms| Duration::from_secs(ms / 1000 + 1));
            // Texts and numbers cannot fail.
            let content = serde_json::to_vec(&record).unwrap_or_default();
            let writing = cluster.write_record(&space, subject.clone(), after, content, life);
            match writing.await? {
                Written::At(_) => self.is_stored(key, &stamp),
                Written::Lost => sleep(LOST).await,
            }
        }
    }

    /// Order about a thing that is to be written.
    fn latest(&self, key: &str) -> Option<Record> {
        let known = self.lock();
        let known = known.get(key)?;
        known.unwritten.as_ref()?;
        Some(known.record.clone())
    }

    /// Notes that an order is stored, or a later one is.
    fn is_stored(&self, key: &str, stamp: &Stamp) {
        if let Some(known) = self.lock().get_mut(key)
            && known.record.stamp == *stamp
            && let Some(stored) = known.unwritten.take()
        {
            stored.cancel();
        }
    }

    async fn keep_reading(self, obey: Obey) {
        let (space, mut from) = (self.space(), 1);
        let (mut created, mut checked) = (None, None::<Instant>);
        let (grace, interval) = SILENT;
        let mut complains = Instant::now() + grace;
        let subjects = &space.subjects;
        loop {
            let reading = async {
                self.0.cluster.ensure(&space).await?;
                self.0.cluster.next(&space.name, subjects, from).await
            };
            let read = reading.await;
            if read.is_ok() {
                complains = Instant::now() + grace;
            }
            if matches!(read, Ok(None)) {
                self.0.was_read.store(true, Ordering::Relaxed);
            }
            match read {
                Ok(Some(message)) => {
                    from = message.sequence + 1;
                    let key = message.subject.rsplit('.').next().unwrap_or_default();
                    let record = Record::read(&message.payload);
                    if let Some(record) = record.filter(|record| self.is_news(key, record)) {
                        let Record { stamp, order, .. } = record;
                        let gateway = stamp.gateway;
                        let key = key.to_owned();
                        let obeying = obey(Order {
                            gateway,
                            key,
                            order,
                        });
                        // The next ones must be heard all the same.
                        if AssertUnwindSafe(obeying).catch_unwind().await.is_err() {
                            tracing::error!("an order of another gateway caused a panic");
                        }
                    }
                    continue;
                }
                Ok(None) if checked.is_none_or(|at| at.elapsed() > CHECK) => {
                    checked = Some(Instant::now());
                    match self.0.cluster.last(&space.name).await {
                        Ok((at, last)) => {
                            let before = created.replace(at);
                            if last + 1 < from || before.is_some_and(|before| before != at) {
                                // The servers have lost all orders.
                                tracing::warn!("NATS has lost the orders: they are written again");
                                from = 1;
                                self.write_again();
                            }
                        }
                        Err(away) => {
                            tracing::debug!(%away, "orders of other gateways");
                            self.0.cluster.doubts(&space.name);
                        }
                    }
                }
                Ok(None) => {}
                Err(away) if Instant::now() >= complains => {
                    complains = Instant::now() + interval;
                    tracing::warn!(%away, "orders of other gateways are not known here");
                }
                Err(away) => tracing::debug!(%away, "orders of other gateways are not known"),
            }
            sleep(LOOK).await;
        }
    }

    /// Writes all that is known again, because it is not stored any more.
    fn write_again(&self) {
        for known in self.lock().values_mut() {
            known.unwritten.get_or_insert_default();
        }
        self.0.writes.notify_one();
    }

    /// Whether an order is later than what is known. Then it is known.
    fn is_news(&self, key: &str, record: &Record) -> bool {
        let now = unix_ms();
        if record.ends_ms.is_some_and(|ends| ends <= now) {
            return false;
        }
        let mut known = self.lock();
        forget_ended(&mut known, now);
        if known
            .get(key)
            .is_some_and(|known| known.record.stamp >= record.stamp)
        {
            return false;
        }
        // What is too much to know is obeyed all the same.
        if known.len() < MAX || known.contains_key(key) {
            let latest = Known {
                record: record.clone(),
                unwritten: None,
            };
            let before = known.insert(key.to_owned(), latest);
            if let Some(stored) = before.and_then(|before| before.unwritten) {
                stored.cancel();
            }
        }
        true
    }

    // Every change is one call, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Reads a record; `None` if it is none of this version, or of a time to come.
    fn read(content: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(content).ok()?;
        let latest = unix_ms().saturating_add(AHEAD);
        (record.version == VERSION && record.stamp.at_ms <= latest).then_some(record)
    }

    /// Lets the order be known for as long as an earlier one that it replaces: whoever has missed it
    /// until then would go on with the earlier one.
    fn outlives(&mut self, before: &Self) {
        let both = self.ends_ms.zip(before.ends_ms);
        self.ends_ms = both.map(|(one, other)| one.max(other));
    }

    /// Time until its end, in milliseconds, as far as the servers can count. `None` if it has none.
    fn left_ms(&self) -> Option<u64> {
        let ends = self.ends_ms?;
        Some(ends.saturating_sub(unix_ms()).min(LONGEST))
    }
}

/// Forgets what says nothing any more.
fn forget_ended(known: &mut BTreeMap<String, Known>, now: u64) {
    known.retain(|_, it| it.record.ends_ms.is_none_or(|ends| ends > now));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(at_ms: u64, ends_ms: Option<u64>) -> Record {
        Record {
            version: VERSION,
            stamp: Stamp {
                at_ms,
                gateway: "g".to_owned(),
            },
            ends_ms,
            order: json!({}),
        }
    }

    #[test]
    fn an_order_is_known_for_as_long_as_each_one_that_it_replaces() {
        for (later, earlier, both) in [
            (Some(1), Some(2), Some(2)),
            (Some(2), Some(1), Some(2)),
            (None, Some(1), None),
            (Some(1), None, None),
        ] {
            let mut order = record(2, later);
            order.outlives(&record(1, earlier));
            assert_eq!(order.ends_ms, both, "{later:?} {earlier:?}");
        }
    }

    #[test]
    fn an_order_of_a_time_to_come_does_not_hold_against_all_others() {
        let read = |at_ms| Record::read(&serde_json::to_vec(&record(at_ms, None)).unwrap());
        assert!(read(unix_ms() + 60_000).is_some());
        assert!(read(u64::MAX).is_none());
    }
}
