//! Generation: the routes of one configuration, with their policies and upstreams.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::cluster::Neighbours;
use super::upstreams::BuildUpstreams;
use base::diagnostics::Diagnostics;
use cluster::Cluster;
use config::Config;
use gateway::routes::{Gateway, Generation, NamedUpstream, Policies, Routes};
use keys::KeySets;
use keys::provider::Providers;
use policy::component::ComponentPolicy;
use policy::counters::Counters;
use policy::destinations::{DestinationPool, Destinations};
use policy::engine::Engine;
use policy::fetch::Fetcher;
use policy::lists::{Prepared, Shelf};
use policy::load::{self, Parts};
use policy::recorder::Recorder;
use policy::settings;
use policy::shadow::ShadowPermits;
use policy::world::Live;
use session::registry::Registry;
use upstream::Upstreams;
use upstream::space::Watermark;
use upstream::wav::Wav;

mod references;
mod routes;
mod unasked;

use routes::{Stock, add_route};

/// Builder of generations, with the parts that outlive them.
pub struct Builder {
    upstreams: BuildUpstreams,
    /// Connection to NATS, from the first configuration that has one and serves.
    cluster: OnceLock<Cluster>,
    neighbours: OnceLock<Neighbours>,
    engine: Arc<Engine>,
    registry: Registry,
    counters: Arc<Counters>,
    recorder: Recorder,
    shadows: ShadowPermits,
    providers: Providers,
    lists: Arc<Shelf>,
    destinations: DestinationPool,
}

/// Generation that was built, with what it needs beside itself.
pub struct Built {
    /// The generation.
    pub generation: Generation,
    /// Keys of its policies.
    pub key_sets: Arc<KeySets>,
    /// Lists of its policies, which have their new entries once they are [put](Shelf::put) to use.
    pub lists: Prepared,
    /// Services of its policies, which are kept for later ones once they
    /// [serve](DestinationPool::serve).
    pub destinations: Destinations,
    /// Connection to NATS of its upstreams.
    pub cluster: Option<Cluster>,
}

impl Builder {
    /// Builder of generations that share these claims.
    ///
    /// # Errors
    /// If the machine lacks a resource that the WebAssembly engine needs.
    pub fn new(
        config: &Config,
        upstreams: BuildUpstreams,
        registry: Registry,
    ) -> anyhow::Result<Self> {
        let mut decisions = config.decisions.clone();
        if let Some(file) = &mut decisions.file {
            *file = config.data_dir.join(&file);
        }
        let compiled = config.data_dir.join("components");
        Ok(Self {
            upstreams,
            cluster: OnceLock::new(),
            neighbours: OnceLock::new(),
            engine: Arc::new(Engine::new()?.compiling_apart().keeping_compiled(compiled)),
            registry,
            counters: Arc::default(),
            shadows: ShadowPermits::default(),
            providers: Providers::default(),
            lists: Arc::default(),
            destinations: DestinationPool::default(),
            recorder: Recorder::start(&decisions)
                .context("the thread that records decisions could not be started")?,
        })
    }

    /// Recorder of the decisions of all generations.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Connection to NATS, if a configuration that served had one.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.get()
    }

    /// What is shared with other gateways, if a configuration that served has a cluster.
    #[must_use]
    pub fn neighbours(&self) -> Option<&Neighbours> {
        self.neighbours.get()
    }

    /// Shares with other gateways from now on, if there is a cluster.
    pub fn share(&self, gateway: &Arc<Gateway>) {
        if let Some(cluster) = self.cluster() {
            self.neighbours
                .get_or_init(|| Neighbours::share(cluster, gateway));
        }
    }

    /// Lists that serve.
    #[must_use]
    pub fn lists(&self) -> &Arc<Shelf> {
        &self.lists
    }

    /// Services that policies ask.
    #[must_use]
    pub fn destinations(&self) -> &DestinationPool {
        &self.destinations
    }

    /// Number of WebAssembly modules that are instantiated now.
    #[must_use]
    pub fn instances(&self) -> u64 {
        let pool = self.engine.wasm().pooling_allocator_metrics();
        pool.map_or(0, |pool| pool.core_instances())
    }

    /// Builds the generation after `before`, with the keys and lists of its policies. Mistakes are
    /// added to `diagnostics`; if there are any, the result must not serve.
    pub async fn build(
        &self,
        config: &Config,
        before: Option<&Generation>,
        diagnostics: &mut Diagnostics,
    ) -> Built {
        if before.is_some() {
            self.engine.streams_come_first();
        }
        let key_sets = Arc::new(KeySets::build(
            &config.key_sets,
            &config.data_dir,
            &self.providers,
            diagnostics,
        ));
        let lists = self.lists.prepare(&config.lists, diagnostics);
        let destinations = self.destinations.prepare(&config.destinations, diagnostics);
        let parts = Parts {
            engine: Arc::clone(&self.engine),
            fetcher: Arc::new(Fetcher::new(
                &config.data_dir,
                &config.credentials,
                &config.realms,
            )),
            world: Arc::new(Live {
                key_sets: Arc::clone(&key_sets),
                registry: self.registry.clone(),
                counters: Arc::clone(&self.counters),
                lists: lists.lists.clone(),
                destinations: destinations.clone(),
            }),
        };
        let policies = policies(config, before, &parts, diagnostics).await;
        let wanted = config.cluster.clone();
        // One that serves stays: another one needs a restart.
        let cluster = wanted.map(|settings| match self.cluster.get() {
            Some(cluster) => cluster.clone(),
            None => Cluster::new(settings),
        });
        let upstreams = (self.upstreams)(config, cluster.as_ref());
        let number = before.map_or(1, |before| before.number + 1);
        let stock = Stock {
            policies: &policies,
            upstreams: &upstreams,
            recorder: self.recorder.of(number),
            config,
            shadows: self.shadows.clone(),
            before,
        };
        let mut routes =
            before.map_or_else(Routes::default, |before| Routes::after(&before.routes));
        for (name, route) in &config.routes {
            add_route(&mut routes, name, route, &stock, diagnostics);
        }
        references::report(config, &references::declared(&policies), diagnostics);
        unasked::report(config, &policies, diagnostics);
        let generation = Generation {
            number,
            policies,
            routes,
            upstreams: named(config, &upstreams),
            folders: recordings(config).map(|(_, folder)| folder).collect(),
        };
        Built {
            generation,
            key_sets,
            lists,
            destinations,
            cluster,
        }
    }

    /// Keeps the cluster of a generation that serves, for all that follow.
    pub fn serves(&self, cluster: Option<Cluster>) {
        if let Some(cluster) = cluster {
            // The first one stays.
            let _ = self.cluster.set(cluster);
        }
    }
}

/// Upstreams with their names and kinds.
fn named(config: &Config, upstreams: &Upstreams) -> Vec<NamedUpstream> {
    let built = config.upstreams.iter().filter_map(|(name, settings)| {
        Some(NamedUpstream {
            name: name.clone(),
            kind: settings.kind(),
            upstream: Arc::clone(upstreams.get(name)?),
        })
    });
    built.collect()
}

/// Loads all policies, as many at once as there are cores to compile them. A policy that does not
/// load is present without a value, so that references to it are not reported too.
async fn policies(
    config: &Config,
    before: Option<&Generation>,
    parts: &Parts,
    diagnostics: &mut Diagnostics,
) -> Policies {
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
    let loading = config.policies.iter();
    // Boxed, because the compiler cannot prove otherwise that the futures are `Send`.
    let loading: Vec<BoxFuture<'_, _>> = loading
        .map(|(name, policy)| load_policy(name, policy, parts).boxed())
        .collect();
    let mut loading = stream::iter(loading).buffered(at_once);
    let mut policies = Policies::new();
    while let Some((name, loaded, mistakes)) = loading.next().await {
        diagnostics.append(mistakes);
        let before = before.and_then(|before| before.policies.get(name)?.as_deref());
        let loaded = loaded.map(|policy| match before {
            Some(before) => policy.after(before),
            None => policy,
        });
        policies.insert(name.to_owned(), loaded.map(Arc::new));
    }
    policies
}

async fn load_policy<'a>(
    name: &'a str,
    policy: &settings::Policy,
    parts: &Parts,
) -> (&'a str, Option<ComponentPolicy>, Diagnostics) {
    let mut mistakes = Diagnostics::default();
    let loaded = load::policy(name, policy, parts, &mut mistakes).await;
    (name, loaded, mistakes)
}

/// Folders of a configuration's recordings, with the names of the upstreams.
fn recordings(config: &Config) -> impl Iterator<Item = (&str, PathBuf)> {
    let upstreams = config.upstreams.iter();
    upstreams.filter_map(|(name, upstream)| {
        let recordings = upstream.recordings()?;
        Some((name.as_str(), config.data_dir.join(&recordings.folder)))
    })
}

/// Creates folders of recordings that are new since `before`. A folder that vanishes later is an
/// unmounted disk, and is not created again. If a folder cannot be created, its streams are refused
/// and all others are served.
pub(crate) fn prepare_folders(config: &Config, before: Option<&Generation>) {
    for (upstream, folder) in recordings(config) {
        if before.is_some_and(|before| before.folders.contains(&folder)) {
            continue;
        }
        let wav = Wav::new(folder.clone()).watched(upstream, Watermark::default());
        if let Err(error) = wav.create_folder() {
            tracing::error!(
                upstream, folder = %folder.display(), %error,
                "the folder of recordings cannot be created; its streams will be refused"
            );
        }
    }
}
