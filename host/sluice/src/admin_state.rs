//! State of the handlers of the admin listener, and what more than one of them tells.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

use crate::health::Health;
use crate::orders::{Order, What};
use crate::process;
use crate::reload::Reloader;
use crate::schema::{
    self, Capacity, Certificate, Check, Connections, DecisionRecord, Generation, KeySet, Policies,
    Policy, Revocation, Revocations, Status, UncleanStop, Upstream, Upstreams,
};
use crate::tickets::Tickets;
use base::blocking::LOADING;
use gateway::connections::Stage;
use gateway::routes::Gateway;
use session::registry::unix_ms;

/// Maximum number of those who read recordings at once.
const MAX_READERS: usize = 8;
/// Maximum number of consoles at once.
const MAX_CONSOLES: usize = 16;

/// Asks again whether whoever sent a request may do what it asked for: a reload may have replaced
/// the tokens since.
#[derive(Clone)]
pub(crate) struct StillAllowed(pub(crate) Arc<dyn Fn() -> bool + Send + Sync>);

/// Whether whoever sent a request may change something.
#[derive(Clone)]
pub(crate) struct MayOperate(pub(crate) Arc<dyn Fn() -> bool + Send + Sync>);

/// State of the handlers.
#[derive(Clone)]
pub struct Admin {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) reloader: Arc<Reloader>,
    pub(crate) recorder: PrometheusHandle,
    health: Health,
    /// Time of the start, in milliseconds since 1970.
    pub(crate) started_ms: u64,
    /// Places for consoles.
    pub(crate) consoles: Arc<Semaphore>,
    /// Places for those who read recordings.
    pub(crate) readers: Arc<Semaphore>,
    /// Tickets of those who try a route.
    pub(crate) tickets: Arc<Tickets>,
    /// Unclean stop of the gateway before this one.
    unclean_stop: Option<Arc<UncleanStop>>,
}

impl Admin {
    /// State of a gateway that starts now.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, reloader: Arc<Reloader>, recorder: PrometheusHandle) -> Self {
        Self {
            gateway,
            reloader,
            recorder,
            health: Health::default(),
            started_ms: unix_ms(),
            consoles: Arc::new(Semaphore::new(MAX_CONSOLES)),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            tickets: Arc::default(),
            unclean_stop: None,
        }
    }

    /// Tells of the unclean stop of the gateway before this one, if there was one.
    #[must_use]
    pub(crate) fn after(self, unclean_stop: Option<UncleanStop>) -> Self {
        Self {
            unclean_stop: unclean_stop.map(Arc::new),
            ..self
        }
    }

    /// Looks at the health of the upstreams and at the rates of connections, until the process ends.
    pub(crate) fn watch(&self) -> impl Future<Output = ()> + use<> {
        let connections = Arc::clone(&self.gateway.connections);
        let health = self.health.clone().watch(Arc::clone(&self.gateway));
        async move {
            tokio::join!(health, connections.watch_rates());
        }
    }

    /// Every check of the readiness.
    pub(crate) fn checks(&self) -> Vec<Check> {
        self.health.checks(&self.gateway, &self.reloader.key_sets())
    }

    /// Policies of the generation that serves newcomers.
    pub(crate) fn policies(&self) -> Policies {
        let generation = self.gateway.generation.load();
        let policies = generation.policies.iter();
        let loaded = policies.filter_map(|(name, policy)| Some(Policy::of(name, policy.as_ref()?)));
        Policies {
            generation: generation.number,
            policies: loaded.collect(),
        }
    }

    /// Upstreams of the generation that serves newcomers.
    pub(crate) fn upstreams(&self) -> Upstreams {
        let generation = self.gateway.generation.load();
        Upstreams {
            generation: generation.number,
            upstreams: generation.upstreams.iter().map(Upstream::of).collect(),
        }
    }

    /// Revocations in force.
    pub(crate) fn revocations(&self) -> Revocations {
        let all = self.gateway.revocations.all().into_iter();
        let revocations = all.map(|(owner, revocation)| Revocation::of(owner, revocation));
        Revocations {
            revocations: revocations.collect(),
        }
    }

    /// Gives an order to the other gateways, at once, if there are any. The future says whether they
    /// can know of it.
    pub(crate) fn order(&self, by: SocketAddr, what: What) -> BoxFuture<'static, Option<String>> {
        let Some(neighbours) = self.reloader.neighbours() else {
            return std::future::ready(None).boxed();
        };
        let telling = neighbours.order(&Order { by, what });
        telling.map(|told| Some(told.word().to_owned())).boxed()
    }

    /// The gateway as a whole.
    pub(crate) async fn status(&self) -> Status {
        let Self {
            gateway, reloader, ..
        } = self;
        let history = reloader.history();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: schema::time(self.started_ms),
            uptime_ms: unix_ms().saturating_sub(self.started_ms),
            generation: gateway.generation.load().number,
            draining: gateway.shutdown.is_draining(),
            checks: self.checks(),
            connections: self.connections().await,
            capacity: self.capacity().await,
            claims: gateway.registry.len() as u64,
            memory_held_bytes: gateway.permits.memory.held() as u64,
            refusals_kept: gateway.refusals.latest().len() as u64,
            missing_keys: reloader.missing_keys().to_vec(),
            key_sets: KeySet::all(&reloader.key_sets()),
            certificates: self.certificates(),
            decision_record: DecisionRecord::of(reloader.record_state()),
            needs_restart: needs_restart(&history).to_vec(),
            unclean_stop: self.unclean_stop.as_deref().cloned(),
            last_reload: history.into_iter().next().unwrap_or_default(),
            cluster: match reloader.neighbours() {
                Some(neighbours) => Some(neighbours.status().await),
                None => None,
            },
        }
    }

    async fn capacity(&self) -> Capacity {
        let Gateway {
            permits, parking, ..
        } = &*self.gateway;
        // A panic was logged and counted where it happened.
        let descriptors = LOADING.run(process::descriptors).await.unwrap_or_default();
        Capacity {
            connections_limit: permits.places() as u64,
            parked_limit: parking.limit() as u64,
            memory_limit_bytes: permits.memory.limit() as u64,
            open_descriptors: descriptors.open,
            descriptors_limit: descriptors.limit,
        }
    }

    fn certificates(&self) -> Vec<Certificate> {
        let shown = |seconds: u64| schema::time(seconds.saturating_mul(1000));
        let certificates = self.reloader.certificates().into_iter();
        let certificates = certificates.map(|certificate| Certificate {
            listener: certificate.listener.to_owned(),
            expires: certificate.expires.map(shown),
            revocation_list_expires: certificate.list_expires.map(shown),
        });
        certificates.collect()
    }

    async fn connections(&self) -> Connections {
        let mut counted = Connections::default();
        let counting = self.gateway.connections.visit("", |live| {
            match live.stage() {
                Stage::Parked => counted.parked += 1,
                Stage::Stream => {
                    counted.live += 1;
                    counted.streaming += 1;
                }
                _ => counted.live += 1,
            }
            ControlFlow::Continue(())
        });
        counting.await;
        counted
    }
}

/// Options that a restart has to take up, by the latest change of generation. The latest come first.
pub(crate) fn needs_restart(history: &[Generation]) -> &[String] {
    let swapped = history.iter().find(|change| change.result == "swapped");
    swapped.map_or(&[], |change| &change.needs_restart)
}
