//! What all connections share: the routes, and whoever keeps count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

use crate::connections::Connections;
use crate::parking::Parking;
use crate::refusals::Refusals;
use crate::revocations::Revocations;
use base::limits::{Limits, Metering};
use base::metrics;
use base::paths;
use base::permits::Permits;
use base::shutdown::Shutdown;
use policy::Chain;
use policy::component::ComponentPolicy;
use session::facts;
use session::handshake::HandshakeMode;
use session::origin::Origins;
use session::rate_limit::AttemptLimit;
use session::registry::Registry;
use traces::trace::Tracer;
use upstream::Upstream;
use wire::proxies::Proxies;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// One route, built and ready.
pub struct Route {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// What the client says first.
    pub handshake: HandshakeMode,
    /// Asked after the upgrade.
    pub on_connect: Chain,
    /// Asked with the handshake.
    pub on_handshake: Chain,
    /// Asked while a client streams, once a window.
    pub on_frames: Chain,
    /// Told of the end.
    pub on_close: Chain,
    /// What they are shown.
    pub metering: Metering,
    /// The policies whose attributes say who a client is.
    pub identified_by: Arc<[String]>,
    /// Whether a client may send another token while it streams: all of these policies are asked
    /// after the upgrade.
    pub renews: bool,
    /// Where its streams go.
    pub upstream: Arc<dyn Upstream>,
    /// Deadlines and bounds.
    pub limits: Arc<Limits>,
    /// Web pages that may connect, beside those of the route's own host.
    pub origins: Origins,
    /// Subprotocols that may be agreed on.
    pub subprotocols: Vec<String>,
    /// How often the same client may try.
    pub attempts: Option<Arc<AttemptLimit>>,
}

/// Routes by path.
#[derive(Default)]
pub struct Routes {
    by_path: matchit::Router<Arc<Route>>,
    all: Vec<Arc<Route>>,
    /// Of generations before, as long as a connection has them.
    earlier: Vec<Weak<Route>>,
}

/// A route with the parameters of one path, percent-decoded.
pub struct Matched {
    /// The route.
    pub route: Arc<Route>,
    /// Its parameters.
    pub params: Vec<(String, String)>,
}

impl Routes {
    /// Serves `route` under `path`.
    ///
    /// # Errors
    /// Where the path is malformed, or clashes with one that is there.
    pub fn insert(&mut self, path: &str, route: Arc<Route>) -> Result<(), matchit::InsertError> {
        let template = paths::template(path);
        self.by_path.insert(template, Arc::clone(&route))?;
        if !self.all.iter().any(|known| Arc::ptr_eq(known, &route)) {
            self.all.push(route);
        }
        Ok(())
    }

    /// None yet, to come in the place of `before`.
    #[must_use]
    pub fn after(before: &Self) -> Self {
        let all = before.all.iter().map(Arc::downgrade);
        let earlier = before.earlier.iter().cloned();
        Self {
            earlier: earlier
                .filter(|route| route.strong_count() > 0)
                .chain(all)
                .collect(),
            ..Self::default()
        }
    }

    /// Every route that a connection may have: these, and those that were
    /// before them.
    pub fn in_use(&self) -> impl Iterator<Item = Arc<Route>> {
        let earlier = self.earlier.iter().filter_map(Weak::upgrade);
        self.all.iter().cloned().chain(earlier)
    }

    /// Every route of this generation.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.all.iter()
    }

    /// The route of that name in the configuration.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Route>> {
        self.all.iter().find(|route| &*route.name == name)
    }

    /// The route for a raw path, however its characters are encoded. The parts
    /// of a path are told apart before they are decoded, so an encoded slash
    /// never makes a new part.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Matched> {
        let path = paths::canonical(path);
        let found = self.by_path.at(&path).ok()?;
        let mut params = Vec::new();
        for (name, value) in found.params.iter() {
            params.push((name.to_owned(), facts::decode(value).ok()?));
        }
        Some(Matched {
            route: Arc::clone(found.value),
            params,
        })
    }
}

/// Policies by name.
pub type Policies = BTreeMap<String, Option<Arc<ComponentPolicy>>>;

/// Upstream of a generation.
pub struct NamedUpstream {
    /// Its name in the configuration.
    pub name: String,
    /// Its `kind` in the configuration.
    pub kind: &'static str,
    /// The upstream.
    pub upstream: Arc<dyn Upstream>,
}

/// What a configuration comes to: the routes with their chains of policies,
/// built together and replaced together. A connection takes its route from the
/// generation that is current when it asks for its upgrade, and keeps it to its
/// end, so an older generation stands beside a newer one until its last
/// connection is gone.
pub struct Generation {
    /// Counted from 1, which is the one at start.
    pub number: u64,
    /// Its policies. One that did not load is there without a value.
    pub policies: Policies,
    /// What is served.
    pub routes: Routes,
    /// Its upstreams.
    pub upstreams: Vec<NamedUpstream>,
    /// The folders of its recordings.
    pub folders: BTreeSet<PathBuf>,
}

/// What all connections share.
pub struct Gateway {
    /// What newcomers are served with.
    pub generation: ArcSwap<Generation>,
    /// Bounds of a connection that matches no route.
    pub default_limits: Arc<Limits>,
    /// Permits for connections, upstream descriptors and memory.
    pub permits: Permits,
    /// Proxies that say where a client is.
    pub proxies: Proxies,
    /// Who holds which key.
    pub registry: Registry,
    /// Live connections and parked streams, for operators.
    pub connections: Arc<Connections>,
    /// Latest refusals, for operators.
    pub refusals: Refusals,
    /// Users and tenants whom operators want refused.
    pub revocations: Revocations,
    /// Traces connections, once it is set.
    pub tracer: OnceLock<Tracer>,
    /// Streams whose clients are away.
    pub parking: Arc<Parking>,
    /// Every task that owns a connection, so that a shutdown can wait for them.
    pub tasks: TaskTracker,
    /// Whether the gateway is on its way out.
    pub shutdown: Shutdown,
    /// What must never happen, counted.
    pub defects: Defects,
}

/// Bugs that were survived, counted for this gateway alone; the metric is the
/// process's.
#[derive(Debug, Default)]
pub struct Defects {
    dropped: AtomicU64,
}

impl Defects {
    /// A connection was dropped without being closed.
    pub fn connection_dropped(&self) {
        metrics::connection_dropped();
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that happened.
    #[must_use]
    pub fn connections_dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
