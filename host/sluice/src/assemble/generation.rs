//! One generation of what is served, from the configuration.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use base::diagnostics::{Diagnostics, Place};
use base::limits::Metering;
use config::{self, Config};
use gateway::routes::{Generation, Policies, Route, Routes};
use keys::KeySets;
use policy::chain::Step;
use policy::component::{ComponentPolicy, Hooks};
use policy::counters::Counters;
use policy::engine::Engine;
use policy::fetch::Fetcher;
use policy::load::{self, Parts};
use policy::recorder::Recorder;
use policy::settings::{self, Grant};
use policy::shadow::{Candidate, Room};
use policy::world::Live;
use policy::{Chain, Policy};
use session::rate_limit::{Allowance, AttemptLimit};
use session::registry::Registry;
use upstream::Upstreams;
use upstream::space::Watermark;
use upstream::wav::Wav;

mod references;
mod unasked;

/// Builds generations, out of what outlives them.
pub struct Builder {
    upstreams: fn(&Config) -> Upstreams,
    engine: Arc<Engine>,
    registry: Registry,
    counters: Arc<Counters>,
    recorder: Recorder,
    room: Room,
}

/// What routes are made of.
struct Stock<'a> {
    policies: &'a Policies,
    upstreams: &'a Upstreams,
    recorder: Recorder,
    config: &'a Config,
    room: Room,
    before: Option<&'a Generation>,
}

impl Builder {
    /// A builder of generations that share these claims.
    ///
    /// # Errors
    /// Where the machine does not give what the Wasm engine needs.
    pub fn new(
        config: &Config,
        upstreams: fn(&Config) -> Upstreams,
        registry: Registry,
    ) -> anyhow::Result<Self> {
        let mut decisions = config.decisions.clone();
        if let Some(file) = &mut decisions.file {
            *file = config.data_dir.join(&file);
        }
        let compiled = config.data_dir.join("components");
        Ok(Self {
            upstreams,
            engine: Arc::new(Engine::new()?.compiling_apart().keeping_compiled(compiled)),
            registry,
            counters: Arc::default(),
            room: Room::default(),
            recorder: Recorder::start(&decisions)
                .context("the thread that records decisions could not be started")?,
        })
    }

    /// Where the decisions of all generations are recorded.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// WebAssembly modules that are instantiated at the moment.
    #[must_use]
    pub fn instances(&self) -> u64 {
        let pool = self.engine.wasm().pooling_allocator_metrics();
        pool.map_or(0, |pool| pool.core_instances())
    }

    /// Builds the generation that comes after `before`, and the keys that its
    /// policies verify with. Mistakes are added to `diagnostics`; what is
    /// returned must not serve if there are any.
    pub async fn build(
        &self,
        config: &Config,
        before: Option<&Generation>,
        diagnostics: &mut Diagnostics,
    ) -> (Generation, Arc<KeySets>) {
        let key_sets = Arc::new(KeySets::build(
            &config.key_sets,
            &config.data_dir,
            diagnostics,
        ));
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
            }),
        };
        let policies = policies(config, before, &parts, diagnostics).await;
        let upstreams = (self.upstreams)(config);
        let number = before.map_or(1, |before| before.number + 1);
        let stock = Stock {
            policies: &policies,
            upstreams: &upstreams,
            recorder: self.recorder.of(number),
            config,
            room: self.room.clone(),
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
            folders: recordings(config).map(|(_, folder)| folder).collect(),
        };
        (generation, key_sets)
    }
}

/// Loads all policies, as many at once as there are cores to compile them. One
/// that does not load is there without a value, so that whoever names it is not
/// said to name nothing.
async fn policies(
    config: &Config,
    before: Option<&Generation>,
    parts: &Parts,
    diagnostics: &mut Diagnostics,
) -> Policies {
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
    let loading = config.policies.iter();
    // Boxed, or the compiler cannot tell that they may change threads.
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

/// The folders of a configuration's recordings, with the upstreams' names.
fn recordings(config: &Config) -> impl Iterator<Item = (&str, PathBuf)> {
    let upstreams = config.upstreams.iter();
    upstreams.filter_map(|(name, upstream)| {
        let recordings = upstream.recordings()?;
        Some((name.as_str(), config.data_dir.join(&recordings.folder)))
    })
}

/// Makes the folders of recordings, where they are new since `before`. A
/// folder that goes away later is a disk that is not mounted, and must not be
/// made up. One that cannot be made refuses its streams, and the gateway
/// serves the others.
pub(crate) fn prepare_folders(config: &Config, before: Option<&Generation>) {
    for (upstream, folder) in recordings(config) {
        if before.is_some_and(|before| before.folders.contains(&folder)) {
            continue;
        }
        let wav = Wav::new(folder.clone()).watched(upstream, Watermark::default());
        if let Err(error) = wav.create_folder() {
            tracing::error!(
                upstream, folder = %folder.display(), %error,
                "the folder of recordings cannot be made; its streams will be refused"
            );
        }
    }
}

fn add_route(
    routes: &mut Routes,
    name: &str,
    route: &config::Route,
    stock: &Stock<'_>,
    diagnostics: &mut Diagnostics,
) {
    let identified_by = identified_by(route, stock);
    let mut asked = |hook, names: &[String], place, has: fn(&Hooks) -> bool| {
        chain(hook, names, place, stock, diagnostics, has).identified_by(&identified_by)
    };
    let on_connect = asked(
        "on-connect",
        &route.on_connect,
        &route.on_connect_place,
        |hooks| hooks.connect.is_some(),
    );
    let on_handshake = asked(
        "on-handshake",
        &route.on_handshake,
        &route.on_handshake_place,
        |hooks| hooks.handshake.is_some(),
    );
    let on_frames = asked(
        "on-frames",
        &route.on_frames,
        &route.on_frames_place,
        |hooks| hooks.frames.is_some(),
    );
    let on_close = asked(
        "on-close",
        &route.on_close,
        &route.on_close_place,
        |hooks| hooks.close.is_some(),
    );
    // A reference to nothing was reported when the configuration was read.
    let Some(upstream) = stock.upstreams.get(&route.upstream) else {
        return;
    };
    let built = Arc::new(Route {
        name: name.into(),
        handshake: route.handshake,
        on_connect,
        on_handshake,
        on_frames,
        on_close,
        metering: metering(route, stock),
        identified_by,
        upstream: Arc::clone(upstream),
        limits: Arc::clone(&route.limits),
        origins: route.origins.clone(),
        subprotocols: route.subprotocols.clone(),
        attempts: attempts(name, route.rate_limit.as_ref(), stock.before),
    });
    for path in &route.paths {
        if let Err(error) = routes.insert(path, Arc::clone(&built)) {
            diagnostics.error(
                &route.place,
                format!("path {path} of route \"{name}\": {error}"),
                "change or remove it",
            );
        }
    }
}

/// The policies of a route that know who a client is.
fn identified_by(route: &config::Route, stock: &Stock<'_>) -> Arc<[String]> {
    let asked = route.on_connect.iter().chain(&route.on_handshake);
    asked
        .filter(|name| settings::identifies(&stock.config.policies, name))
        .cloned()
        .collect()
}

/// Payloads are kept only where somebody may see them.
fn metering(route: &config::Route, stock: &Stock<'_>) -> Metering {
    let named = route.on_frames.iter().map(String::as_str);
    let beside = named.clone().filter_map(|name| stock.beside(name));
    let beside = beside.map(|(name, _)| name);
    let seen = named.chain(beside).any(|name| {
        let policy = stock.policies.get(name).and_then(Option::as_ref);
        policy.is_some_and(|policy| policy.grants().contains(&Grant::Payload))
    });
    Metering {
        payload: if seen { route.metering.payload } else { 0 },
        ..route.metering
    }
}

/// What clients have used up of their attempts is not given back to them by a
/// reload that leaves the limit as it is.
fn attempts(
    route: &str,
    allowance: Option<&Allowance>,
    before: Option<&Generation>,
) -> Option<Arc<AttemptLimit>> {
    let allowance = allowance?;
    let counting = before
        .and_then(|generation| generation.routes.named(route))
        .and_then(|route| route.attempts.as_ref())
        .filter(|attempts| attempts.allowance() == allowance);
    Some(counting.map_or_else(|| Arc::new(AttemptLimit::new(allowance)), Arc::clone))
}

fn chain(
    hook: &str,
    names: &[String],
    place: &Place,
    stock: &Stock<'_>,
    diagnostics: &mut Diagnostics,
    has: fn(&Hooks) -> bool,
) -> Chain {
    let mut steps = Vec::new();
    for name in names {
        // One that is not there was reported when it was loaded or read.
        let Some(policy) = stock.hooked(name, hook, place, has, diagnostics) else {
            continue;
        };
        let trial = stock.trial(name);
        let mut step = match trial {
            Some(trial) => Step::alone(stock.candidate(policy, trial)),
            None => Step::of(policy),
        };
        if let Some((name, trial)) = stock.beside(name) {
            // Where it had no hook, its canaries would be asked nothing.
            let next = stock.hooked(name, hook, &trial.place, has, diagnostics);
            if let Some(next) = next {
                step = step.beside(stock.candidate(next, trial));
            }
        }
        steps.push(step);
    }
    Chain::of(steps).recorded(stock.recorder.clone())
}

impl Stock<'_> {
    fn trial(&self, name: &str) -> Option<&settings::Trial> {
        self.config.policies.get(name)?.trial.as_ref()
    }

    /// The policy that is tried out beside the one of that name.
    fn beside(&self, name: &str) -> Option<(&str, &settings::Trial)> {
        self.config.policies.iter().find_map(|(next, policy)| {
            let trial = policy.trial.as_ref()?;
            let beside = trial.stands_for.as_deref() == Some(name);
            beside.then_some((next.as_str(), trial))
        })
    }

    fn candidate(&self, policy: Arc<dyn Policy>, trial: &settings::Trial) -> Candidate {
        Candidate::new(policy, trial.decides_for, self.room.clone())
    }

    /// A policy that has the hook, or whose mistake is reported.
    fn hooked(
        &self,
        name: &str,
        hook: &str,
        place: &Place,
        has: fn(&Hooks) -> bool,
        diagnostics: &mut Diagnostics,
    ) -> Option<Arc<dyn Policy>> {
        let policy = self.policies.get(name)?.as_ref()?;
        if !has(policy.hooks()) {
            diagnostics.error(
                place,
                format!("policy \"{name}\" has no hook {hook}"),
                "name it at a stage that it has a hook for",
            );
        }
        Some(Arc::clone(policy) as Arc<dyn Policy>)
    }
}
