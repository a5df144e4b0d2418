//! Health: whether the gateway can serve, and if not, why.
//!
//! A task looks every two seconds whether the upstreams of the current generation can take streams,
//! so that the answer is there when a probe asks. Nothing that serves a connection waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::schema::Check;
use base::text;
use gateway::routes::{Gateway, Generation, NamedUpstream};
use keys::KeySets;
use policy::references::ReferenceKind;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(2);
/// Grace: an upstream fails after this many looks in a row at which it could take no stream.
const GRACE: u32 = 3;
/// Maximum length of a reason, in bytes.
const MAX_REASON: usize = 512;

/// What the latest looks have found. Cheap to clone.
#[derive(Debug, Default, Clone)]
pub struct Health(Arc<Mutex<BTreeMap<String, Outage>>>);

/// Looks in a row at which an upstream could take no stream.
#[derive(Debug, Clone)]
struct Outage {
    looks: u32,
    reason: String,
}

/// A look that may take longer than the time to the next one.
type Look = JoinHandle<anyhow::Result<()>>;

impl Health {
    /// Looks at the upstreams of the current generation, until the process ends.
    pub async fn watch(self, gateway: Arc<Gateway>) {
        let mut pending = BTreeMap::new();
        let mut pause = tokio::time::interval(LOOK);
        loop {
            pause.tick().await;
            let generation = gateway.generation.load_full();
            pending = self.look(&generation, pending).await;
        }
    }

    /// Takes the results of the looks that are done, and begins the next ones. A look that is not
    /// done counts as failed: a disk that hangs must not get one thread after the other.
    async fn look(
        &self,
        generation: &Generation,
        mut before: BTreeMap<String, Look>,
    ) -> BTreeMap<String, Look> {
        let mut pending = BTreeMap::new();
        for named in generation
            .upstreams
            .iter()
            .filter(|named| is_used(generation, named))
        {
            let look = match before.remove(&named.name) {
                Some(look) if !look.is_finished() => {
                    self.failed(&named.name, "it does not answer");
                    look
                }
                Some(look) => {
                    match look.await {
                        Ok(Ok(())) => drop(self.lock().remove(&named.name)),
                        Ok(Err(error)) => self.failed(&named.name, &format!("{error:#}")),
                        Err(error) => self.failed(&named.name, &error.to_string()),
                    }
                    begin(named)
                }
                None => begin(named),
            };
            pending.insert(named.name.clone(), look);
        }
        self.lock().retain(|name, _| pending.contains_key(name));
        pending
    }

    fn failed(&self, upstream: &str, reason: &str) {
        let mut outages = self.lock();
        let outage = outages.entry(upstream.to_owned()).or_insert(Outage {
            looks: 0,
            reason: String::new(),
        });
        outage.looks = outage.looks.saturating_add(1);
        outage.reason = text::clean(reason, MAX_REASON);
        if outage.looks == GRACE {
            let reason = &*outage.reason;
            tracing::warn!(
                upstream,
                reason,
                "an upstream can take no streams: not ready"
            );
        }
    }

    /// Every check, with its result now.
    #[must_use]
    pub(crate) fn checks(&self, gateway: &Gateway, key_sets: &KeySets) -> Vec<Check> {
        let generation = gateway.generation.load();
        let draining = gateway.shutdown.is_draining();
        let draining = draining.then(|| "the gateway drains, and refuses newcomers".to_owned());
        let mut checks = vec![Check::of("serving", draining)];
        for key_set in used_key_sets(&generation) {
            let reason = key_sets.get(&key_set).and_then(|set| set.unavailable());
            checks.push(Check::of(&format!("key set {key_set}"), reason));
        }
        let outages = self.lock();
        for named in generation
            .upstreams
            .iter()
            .filter(|named| is_used(&generation, named))
        {
            let outage = outages
                .get(&named.name)
                .filter(|outage| outage.looks >= GRACE);
            let reason = outage.map(|outage| outage.reason.clone());
            checks.push(Check::of(&format!("upstream {}", named.name), reason));
        }
        checks
    }

    // Each change leaves the map usable, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Outage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begin(named: &NamedUpstream) -> Look {
    let upstream = Arc::clone(&named.upstream);
    tokio::spawn(async move { upstream.check().await })
}

/// Whether a route has this upstream.
fn is_used(generation: &Generation, named: &NamedUpstream) -> bool {
    let mut routes = generation.routes.all();
    routes.any(|route| Arc::ptr_eq(&route.upstream, &named.upstream))
}

/// Key sets that policies verify tokens with.
fn used_key_sets(generation: &Generation) -> Vec<String> {
    let policies = generation.policies.values().flatten();
    let named = policies.flat_map(|policy| &policy.references().named);
    let key_sets = named.filter(|reference| reference.kind == ReferenceKind::KeySet);
    let mut names: Vec<_> = key_sets.map(|reference| reference.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}
