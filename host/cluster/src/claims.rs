//! Exclusive claims of all gateways that share the servers.
//!
//! A key has one record, which names its holder: a session, its gateway, and the incarnation of the
//! [`Lease`] of that gateway. Whoever wants the key writes the record by compare-and-set: if
//! there is none, if it was removed, if the lease of its gateway has ended, or if the holder is the
//! one from whom the key is to be taken. Nobody decides by reading.
//!
//! Within a gateway its [`Registry`] decides, and the record follows it: in the background where a
//! claim ends, and before the policy's answer counts where one begins.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use session::registry::Registry;
use session::registry::shared::{Granted, Over, SharedClaim, SharedClaimError, SharedClaims};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
#[cfg(feature = "testing")]
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::connection::Cluster;
use base::{instance, metrics};
use key::{Key, Recorded};
use lease::Lease;
use records::Records;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod histories;
mod key;
mod lease;
mod members;
mod nats;
mod neighbours;
mod record;
mod records;
#[cfg(test)]
mod tests;

pub use lease::{Counted, Term, Times};
pub use members::{Describe, Member, members};
pub use neighbours::LetGo;
pub use record::About;

/// Maximum number of keys whose records this gateway writes, or may have written.
const MAX_KEYS: usize = 1 << 16;
/// Time limit for a claim. Clients come back after that.
const PATIENCE: Duration = Duration::from_secs(2);
/// Maximum number of records that are written in the background at once.
const AT_ONCE: usize = 64;
/// Pause before a record is tried again in the background: at least, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// Time for a gateway that has taken a stream to take its keys over as well. It counts while NATS
/// answers the gateway that has left them.
const LEAVING: Duration = Duration::from_secs(10);
/// Pause before keys are followed again for which there was no room.
const CROWDED: Duration = Duration::from_secs(10);
/// Time limit for the records of claims that end with the process.
const CLOSING: Duration = Duration::from_secs(2);
/// Pause between two looks whether they are written.
const CLOSING_LOOK: Duration = Duration::from_millis(5);
/// Interval in which records are found that are about to be removed by their age.
const LOOK: Duration = Duration::from_secs(3600);

/// Exclusive claims of all gateways that share the servers.
#[derive(Clone)]
pub struct ClusterClaims(Arc<Shared>);

struct Shared {
    records: Arc<dyn Records>,
    /// Instance id of this gateway.
    gateway: String,
    lease: Lease,
    registry: Registry,
    keys: Mutex<HashMap<String, Arc<Key>>>,
    background: Semaphore,
    /// Whether there are keys for which there was no room.
    misses: AtomicBool,
    runtime: Handle,
}

impl ClusterClaims {
    /// Shares the claims of this registry with the other gateways from now on. `let_go` ends a stream
    /// here that goes on at another gateway.
    /// `describe` says what other gateways may know of this one.
    #[must_use]
    pub fn share(
        cluster: &Cluster,
        registry: &Registry,
        let_go: LetGo,
        describe: Describe,
    ) -> Self {
        let records: Arc<dyn Records> = Arc::new(cluster.clone());
        let times = Times::default();
        let claims = Self::new(records, instance::id(), registry, times, describe);
        claims.begin(cluster, registry, let_go);
        claims
    }

    /// Time since the latest renewal of this gateway's lease, and whether it counts on it. `None` if
    /// it has no lease.
    #[must_use]
    pub fn lease_age(&self) -> Option<(Duration, Counted)> {
        self.0.lease.age()
    }

    /// Number of keys whose records do not say yet who holds them.
    #[must_use]
    pub fn pending(&self) -> usize {
        let keys = self.lock();
        keys.values().filter(|key| key.is_followed()).count()
    }

    /// Shares the claims of a gateway of this name, with leases of these times.
    #[cfg(feature = "testing")]
    pub fn share_as(
        name: &str,
        times: Times,
        cluster: &Cluster,
        registry: &Registry,
        let_go: LetGo,
    ) -> watch::Receiver<Option<Term>> {
        let records: Arc<dyn Records> = Arc::new(cluster.clone());
        let describe: Describe = Arc::new(About::default);
        let claims = Self::new(records, name, registry, times, describe);
        let terms = claims.0.lease.terms();
        claims.begin(cluster, registry, let_go);
        terms
    }

    fn begin(&self, cluster: &Cluster, registry: &Registry, let_go: LetGo) {
        tokio::spawn(self.clone().keep_lease());
        tokio::spawn(self.clone().keep_looking());
        tokio::spawn(self.clone().hear(cluster.clone(), let_go));
        registry.share(Arc::new(self.clone()));
    }

    fn new(
        records: Arc<dyn Records>,
        gateway: &str,
        registry: &Registry,
        times: Times,
        describe: Describe,
    ) -> Self {
        Self(Arc::new(Shared {
            lease: Lease::new(Arc::clone(&records), gateway.to_owned(), times, describe),
            records,
            gateway: gateway.to_owned(),
            registry: registry.clone(),
            keys: Mutex::default(),
            background: Semaphore::new(AT_ONCE),
            misses: AtomicBool::new(false),
            runtime: Handle::current(),
        }))
    }

    /// Renews the lease, and claims anew with each incarnation of it what is held here.
    async fn keep_lease(self) {
        self.0.lease.keep(|| self.follow_all()).await;
    }

    /// Writes records again before they are removed by their age.
    async fn keep_looking(self) {
        loop {
            sleep(LOOK).await;
            self.follow_all();
            // Two that had a key in hand at once have left it to each other.
            self.lock().retain(|_, key| {
                let recorded = key.recorded.try_lock();
                Arc::strong_count(key) > 1 || !recorded.is_ok_and(|it| it.is_blank())
            });
        }
    }

    /// Follows all keys after a pause, because there are too many now. What was released is none of
    /// them: it is known, or was never recorded.
    fn follow_later(&self) {
        if self.0.misses.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!("{MAX_KEYS} keys are held here: more are not recorded for other gateways");
        let claims = self.clone();
        self.0.runtime.spawn(async move {
            sleep(CROWDED).await;
            claims.0.misses.store(false, Ordering::Relaxed);
            claims.follow_all();
        });
    }

    fn follow_all(&self) {
        for key in self.0.registry.keys() {
            self.follow(&key);
        }
    }

    /// State of a key's record. `None` if there are too many.
    fn key(&self, key: &str) -> Option<Arc<Key>> {
        let mut keys = self.lock();
        if let Some(known) = keys.get(key) {
            return Some(Arc::clone(known));
        }
        if keys.len() >= MAX_KEYS {
            return None;
        }
        let new = Arc::new(Key::new(key));
        keys.insert(key.to_owned(), Arc::clone(&new));
        Some(new)
    }

    /// State of a key's record, if anything is known of it.
    fn known(&self, key: &str) -> Option<Arc<Key>> {
        self.lock().get(key).cloned()
    }

    /// Forgets a key of which nothing is known, unless somebody else has it in hand.
    fn forget(&self, key: &Arc<Key>, recorded: &Recorded) {
        let mut keys = self.lock();
        // This one and the table's.
        if recorded.is_blank() && Arc::strong_count(key) == 2 {
            keys.remove(key.name());
        }
    }

    /// Follows the registry until the record of a key says who holds it.
    async fn keep_following(self, key: Arc<Key>) {
        loop {
            let result = match self.0.background.acquire().await {
                Ok(_permit) => self.0.settle(&key).await,
                // It is never closed.
                Err(_) => return,
            };
            match result {
                Ok(()) => {
                    if key.has_followed() {
                        let recorded = key.recorded.lock().await;
                        self.forget(&key, &recorded);
                        return;
                    }
                }
                Err(away) => {
                    tracing::debug!(%away, "a claim is not recorded yet");
                    let (least, most) = PAUSE;
                    sleep(least + (most - least).mul_f64(fastrand::f64())).await;
                }
            }
        }
    }

    // Every change is one call, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Key>>> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedClaims for ClusterClaims {
    fn claim(
        &self,
        claim: SharedClaim,
        over: Over,
    ) -> BoxFuture<'static, Result<Granted, SharedClaimError>> {
        let began = Instant::now();
        let Some(key) = self.key(&claim.key) else {
            let why = format!("{MAX_KEYS} keys are held here already, or wait for NATS");
            return std::future::ready(Err(SharedClaimError::Away(why))).boxed();
        };
        let claims = self.clone();
        // In a task of its own, so that what is known of the record stays right.
        let claiming = self.0.runtime.spawn(async move {
            let mut recorded = key.recorded.lock().await;
            let deadline = began + PATIENCE;
            let claimed = claims.0.take(&key, &mut recorded, &claim, &over, deadline);
            let claimed = claimed.await;
            claims.forget(&key, &recorded);
            drop(recorded);
            let registry = &claims.0.registry;
            if claimed.is_ok()
                && registry
                    .claim_here(&claim.key, Some(&claim.session_id))
                    .is_none()
            {
                // Its session ended meanwhile, perhaps after its release was followed.
                claims.follow(&claim.key);
            }
            metrics::cluster_claim(match &claimed {
                Ok(_) => "committed",
                Err(SharedClaimError::Held(_)) => "conflict",
                Err(SharedClaimError::Away(_)) => "unknown",
            });
            metrics::cluster_claimed(began.elapsed());
            claimed
        });
        async move {
            let ended = |_| Err(SharedClaimError::Away("the gateway ends".to_owned()));
            claiming.await.unwrap_or_else(ended)
        }
        .boxed()
    }

    fn follow(&self, key: &str) {
        let Some(key) = self.key(key) else {
            self.follow_later();
            return;
        };
        if key.must_follow() {
            self.0.runtime.spawn(self.clone().keep_following(key));
        }
    }

    fn leave(&self, key: &str, stream: &Arc<str>) {
        let Some(key) = self.key(key) else {
            self.follow_later();
            return;
        };
        let left = key.leave(stream);
        let claims = self.clone();
        self.0.runtime.spawn(async move {
            claims.0.lease.lasts(LEAVING).await;
            key.no_longer(&left);
            claims.follow(key.name());
        });
    }

    fn let_go(&self, gateway: &str, stream: &str, session_id: &str) {
        // Records of older gateways name none.
        if !gateway.is_empty() && gateway != self.0.gateway {
            self.0.runtime.spawn(neighbours::let_go(
                Arc::clone(&self.0.records),
                gateway.to_owned(),
                stream.to_owned(),
                session_id.to_owned(),
            ));
        }
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let claims = self.clone();
        let closing = async move {
            while claims.lock().values().any(|key| key.is_followed()) {
                sleep(CLOSING_LOOK).await;
            }
            claims.0.lease.end().await;
        };
        async move {
            // What is left is free once the lease has ended.
            if timeout(CLOSING, closing).await.is_err() {
                tracing::warn!("other gateways may find claims of this one for some seconds");
            }
        }
        .boxed()
    }
}

impl fmt::Debug for ClusterClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClusterClaims")
            .field(&self.0.gateway)
            .finish()
    }
}
