//! Board of what operators have told one gateway, and all must know.
//!
//! Each thing that can be told of has one record, and the latest order about it counts. A gateway
//! writes its own orders by compare-and-set, in the background, until they are stored or a later one
//! is. It reads all orders in the sequence in which they were stored, from the first one on when it
//! starts, by asking for the next one again and again: a watch can be silent for half a minute after a
//! leader is lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::instance;
use base::text;
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
/// Maximum number of orders that are known.
const MAX: usize = 4096;
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
}

/// Latest order about one thing.
struct Known {
    stamp: Stamp,
    ends_ms: Option<u64>,
    /// The order, until it is stored.
    unwritten: Option<Unwritten>,
}

/// Order that is not stored yet.
struct Unwritten {
    record: Vec<u8>,
    stored: CancellationToken,
}

/// Place of an order among those about the same thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Stamp {
    at_ms: u64,
    /// Gateway where it was given.
    gateway: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    #[serde(flatten)]
    stamp: Stamp,
    /// Time from which on it says nothing any more.
    ends_ms: Option<u64>,
    order: serde_json::Value,
}

/// Order that was given at another gateway.
#[derive(Debug)]
pub struct Order {
    /// That gateway.
    pub gateway: String,
    /// The order.
    pub order: serde_json::Value,
}

/// Obeys an order of another gateway.
pub(crate) type Obey = Box<dyn Fn(Order) -> BoxFuture<'static, ()> + Send + Sync>;

/// Error: too many orders are in force.
#[derive(Debug, thiserror::Error)]
#[error("{MAX} orders are in force at all gateways: other gateways are not told of this one")]
pub struct TooManyOrders;

impl Board {
    /// Reads the orders of other gateways from now on, and writes those that are given here.
    #[must_use]
    pub fn share(cluster: &Cluster, obey: Obey) -> Self {
        let board = Self(Arc::new(Shared {
            cluster: cluster.clone(),
            known: Mutex::default(),
            writes: Notify::new(),
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
        let key = text::hex(&Sha256::digest(about));
        let now = unix_ms();
        let mut known = self.lock();
        forget_ended(&mut known, now);
        if known.len() >= MAX && !known.contains_key(&key) {
            return Err(TooManyOrders);
        }
        let before = known.get(&key);
        // The clocks of gateways differ: what is said later counts.
        let after = before.map_or(0, |before| before.stamp.at_ms + 1);
        let stamp = Stamp {
            at_ms: now.max(after),
            gateway: instance::id().to_owned(),
        };
        let unwritten = before.and_then(|before| before.unwritten.as_ref());
        let stored = unwritten.map_or_else(CancellationToken::new, |it| it.stored.clone());
        let record = Record {
            version: VERSION,
            stamp: stamp.clone(),
            ends_ms,
            order,
        };
        let unwritten = Unwritten {
            // Texts and numbers cannot fail.
            record: serde_json::to_vec(&record).unwrap_or_default(),
            stored: stored.clone(),
        };
        let latest = Known {
            stamp,
            ends_ms,
            unwritten: Some(unwritten),
        };
        known.insert(key, latest);
        drop(known);
        self.0.writes.notify_one();
        Ok(stored)
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
            let Some((stamp, record, ends_ms)) = self.latest(key) else {
                return Ok(());
            };
            let left = ends_ms.map(|ends| ends.saturating_sub(unix_ms()).min(LONGEST));
            if left == Some(0) {
                self.is_stored(key, &stamp);
                continue;
            }
            let found = cluster.read_record(&space.name, &subject).await?;
            let before = found
                .as_ref()
                .and_then(|found| Record::read(&found.content));
            if before.is_some_and(|before| before.stamp >= stamp) {
                self.is_stored(key, &stamp);
                continue;
            }
            let after = found.map_or(0, |found| found.sequence);
            // The servers count in whole seconds.
            let life = left.map(|ms| Duration::from_secs(ms / 1000 + 1));
            let writing = cluster.write_record(&space, subject.clone(), after, record, life);
            match writing.await? {
                Written::At(_) => self.is_stored(key, &stamp),
                Written::Lost => {}
            }
        }
    }

    /// Order about a thing that is to be written.
    fn latest(&self, key: &str) -> Option<(Stamp, Vec<u8>, Option<u64>)> {
        let known = self.lock();
        let known = known.get(key)?;
        let record = known.unwritten.as_ref()?.record.clone();
        Some((known.stamp.clone(), record, known.ends_ms))
    }

    /// Notes that an order is stored, or a later one is.
    fn is_stored(&self, key: &str, stamp: &Stamp) {
        if let Some(known) = self.lock().get_mut(key)
            && known.stamp == *stamp
            && let Some(unwritten) = known.unwritten.take()
        {
            unwritten.stored.cancel();
        }
    }

    async fn keep_reading(self, obey: Obey) {
        let (space, mut from, mut checked) = (self.space(), 1, Instant::now());
        let subjects = &space.subjects;
        loop {
            let reading = async {
                self.0.cluster.ensure(&space).await?;
                self.0.cluster.next(&space.name, subjects, from).await
            };
            match reading.await {
                Ok(Some(message)) => {
                    from = message.sequence + 1;
                    let key = message.subject.rsplit('.').next().unwrap_or_default();
                    let record = Record::read(&message.payload);
                    if let Some(record) = record.filter(|record| self.is_news(key, record)) {
                        let Record { stamp, order, .. } = record;
                        let gateway = stamp.gateway;
                        obey(Order { gateway, order }).await;
                    }
                    continue;
                }
                Ok(None) if checked.elapsed() > CHECK => {
                    checked = Instant::now();
                    match self.0.cluster.last(&space.name).await {
                        // They have lost them, and begin anew.
                        Ok(last) if last + 1 < from => from = 1,
                        Ok(_) => {}
                        Err(away) => tracing::debug!(%away, "orders of other gateways"),
                    }
                }
                Ok(None) => {}
                Err(away) => tracing::debug!(%away, "orders of other gateways are not known"),
            }
            sleep(LOOK).await;
        }
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
            .is_some_and(|known| known.stamp >= record.stamp)
        {
            return false;
        }
        // What is too much to know is obeyed all the same.
        if known.len() < MAX || known.contains_key(key) {
            let latest = Known {
                stamp: record.stamp.clone(),
                ends_ms: record.ends_ms,
                unwritten: None,
            };
            let before = known.insert(key.to_owned(), latest);
            if let Some(unwritten) = before.and_then(|before| before.unwritten) {
                unwritten.stored.cancel();
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
    /// Reads a record; `None` if it is none of this version.
    fn read(content: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(content).ok()?;
        (record.version == VERSION).then_some(record)
    }
}

/// Forgets what says nothing any more.
fn forget_ended(known: &mut BTreeMap<String, Known>, now: u64) {
    known.retain(|_, it| it.ends_ms.is_none_or(|ends| ends > now));
}
