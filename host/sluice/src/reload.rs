//! Reload: a new generation is built beside the old one, and then replaces it.
//!
//! The whole configuration is read again, every policy is compiled and validates its part, and then
//! one pointer is swapped. Live connections keep the route and policies that accepted them. If the
//! new configuration has mistakes, nothing changes, and the report says what is wrong and where.
//!
//! A reload applies everything except `[server]`, `[decisions]`, `[traces]`, `[cluster]` and `data_dir`, because listeners
//! and written files belong to the process. Changes of these are logged as needing a restart, and
//! the rest is applied. The certificates and tokens of `[server]` are applied too: new connections
//! get the new certificate, and existing ones continue.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::time::Instant;

use crate::assemble::cluster::Neighbours;
use crate::assemble::generation::{Builder, Built, prepare_folders};
use crate::credentials::{ListenerCertificate, ListenerCredentials, NewCredentials};
use crate::providers;
use crate::schema::Generation;
use crate::series;
use crate::supervisor::Supervisor;
use base::blocking::LOADING;
use base::diagnostics::Diagnostics;
use base::metrics;
use config::{self, Config, Options};
use gateway::routes::Gateway;
use keys::KeySets;
use policy::recorder::RecordState;
use policy::settings;
use traces::settings::Traces;
use upstream::wav::Recordings;
use upstream::wav::retention::Retention;

pub mod files;
mod history;
mod lists;
mod outcome;
mod preview;
pub mod watch;

use files::SeenFiles;
use history::History;
use outcome::log;
pub use outcome::{ReloadError, Reloaded, Trigger};

/// Where the configuration is read from, at the start and at each reload.
#[derive(Debug, Clone, Default)]
pub struct ConfigSource {
    /// Configuration file. `None`: the built-in configuration.
    pub file: Option<PathBuf>,
    /// `--data-dir`, which takes precedence over the file.
    pub data_dir: Option<PathBuf>,
    /// `--listen`, which takes precedence over the file.
    pub listen: Option<std::net::SocketAddr>,
}

impl ConfigSource {
    /// Reads the configuration with [`Config::load`].
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read(&self) -> Result<(Config, Diagnostics), Diagnostics> {
        let (mut config, diagnostics) = Config::load(self.file.as_deref())?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        if let Some(listen) = self.listen {
            config.server.listen = vec![listen];
        }
        Ok((config, diagnostics))
    }
}

/// Reloads the configuration on request. One reload runs at a time. Others wait for it and then
/// read the files again.
pub struct Reloader {
    source: ConfigSource,
    builder: Builder,
    gateway: Arc<Gateway>,
    /// `[server]` of the start.
    server: config::Server,
    decisions: settings::Decisions,
    traces: Option<Traces>,
    data_dir: PathBuf,
    credentials: ListenerCredentials,
    retention: Retention,
    history: History,
    supervisor: Supervisor,
    /// Apart from `state`, which a reload holds for as long as it takes.
    missing_keys: Missing,
    /// Keys of the generation that serves, for those who only look.
    key_sets: ArcSwap<KeySets>,
    /// Notified when the files may have changed, or may be other files.
    changed: Arc<Notify>,
    state: Arc<Mutex<ReloadState>>,
}

/// Names of the key sets whose files were missing at the last attempt.
type Missing = ArcSwap<Vec<String>>;

struct ReloadState {
    /// Files as of the last attempt, whatever its result.
    seen: SeenFiles,
    /// Files of the generation that serves, and of its lists as they serve.
    served: SeenFiles,
    /// Keys of the generation that serves.
    key_sets: Arc<KeySets>,
    /// Lists of the generation that serves.
    lists: BTreeMap<String, settings::List>,
    /// Options of the generation that serves.
    options: Options,
}

impl Reloader {
    /// Reloader of a gateway that was started with `config`, serves with `key_sets`, and whose
    /// files were as `seen`. Starts the retention of the configuration's recordings.
    #[must_use]
    pub fn new(
        source: ConfigSource,
        builder: Builder,
        gateway: Arc<Gateway>,
        config: &Config,
        key_sets: Arc<KeySets>,
        credentials: ListenerCredentials,
        seen: SeenFiles,
    ) -> Self {
        let number = gateway.generation.load().number;
        metrics::generation(number);
        let start = history::start(number, seen.sha256(source.file.as_deref()));
        Self {
            source,
            builder,
            gateway,
            server: config.server.clone(),
            decisions: config.decisions.clone(),
            traces: config.traces.clone(),
            data_dir: config.data_dir.clone(),
            credentials,
            retention: Retention::start(recordings(config), &config.data_dir),
            history: History::of(start),
            supervisor: Supervisor::default(),
            missing_keys: Missing::default(),
            key_sets: ArcSwap::new(Arc::clone(&key_sets)),
            changed: Arc::default(),
            state: Arc::new(Mutex::new(ReloadState {
                served: seen.clone(),
                seen,
                key_sets,
                lists: config.lists.clone(),
                options: config.options.clone(),
            })),
        }
    }

    /// Tells the service manager of each reload.
    #[must_use]
    pub(crate) fn telling(self, supervisor: Supervisor) -> Self {
        Self { supervisor, ..self }
    }

    /// Reads everything again, and swaps it in if it has no mistakes.
    ///
    /// # Errors
    /// [`ReloadError`]. The gateway continues unchanged.
    pub async fn reload(self: &Arc<Self>, trigger: Trigger) -> Result<Reloaded, ReloadError> {
        let state = Arc::clone(&self.state).lock_owned().await;
        self.reload_apart(state, trigger).await
    }

    /// Calls [`Reloader::reload`] if the content of a file differs from the last attempt. If only
    /// lists differ, these are read anew and nothing else. Errors are in the log.
    pub(crate) async fn reload_if_changed(self: &Arc<Self>, trigger: Trigger) {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        let now = state.seen.again().await;
        if now == state.seen {
            state.seen = now;
        } else if lists::alone_differ(&state, &now) {
            self.refresh_lists(&mut state, now).await;
        } else {
            // The result was logged.
            drop(self.reload_apart(state, trigger).await);
        }
    }

    /// Reloads in a separate thread, because it reads and creates files, and a disk may hang.
    async fn reload_apart(
        self: &Arc<Self>,
        mut state: OwnedMutexGuard<ReloadState>,
        trigger: Trigger,
    ) -> Result<Reloaded, ReloadError> {
        let (this, runtime) = (Arc::clone(self), Handle::current());
        let reloading =
            LOADING.run(move || runtime.block_on(this.reload_locked(&mut state, trigger)));
        reloading.await.map_err(ReloadError::Panicked)?
    }

    /// The start and the latest reloads, the latest first.
    #[must_use]
    pub(crate) fn history(&self) -> Vec<Generation> {
        self.history.latest()
    }

    /// Names of the key sets whose files were missing at the last attempt.
    pub(crate) fn missing_keys(&self) -> Arc<Vec<String>> {
        self.missing_keys.load_full()
    }

    /// Keys of the generation that serves newcomers.
    pub(crate) fn key_sets(&self) -> Arc<KeySets> {
        self.key_sets.load_full()
    }

    /// Certificates of the listeners.
    pub(crate) fn certificates(&self) -> Vec<ListenerCertificate> {
        self.credentials.certificates()
    }

    /// What is shared with other gateways, if a configuration that served has a cluster.
    pub(crate) fn neighbours(&self) -> Option<&Neighbours> {
        self.builder.neighbours()
    }

    /// State of the decision record; `None` if decisions are not recorded.
    pub(crate) fn record_state(&self) -> Option<RecordState> {
        self.builder.recorder().state()
    }

    /// File of the decision record, if there is one.
    pub(crate) fn decision_record(&self) -> Option<PathBuf> {
        let file = self.decisions.file.as_ref()?;
        Some(self.data_dir.join(file))
    }

    /// Number of WebAssembly modules that are instantiated now.
    #[must_use]
    pub fn instances(&self) -> u64 {
        self.builder.instances()
    }

    /// Files of the configuration, as of the last attempt.
    async fn files(&self) -> BTreeSet<PathBuf> {
        self.state.lock().await.seen.files()
    }

    /// Whether a file may have changed, by its inode alone.
    async fn files_may_have_changed(&self) -> bool {
        let seen = self.state.lock().await.seen.clone();
        seen.may_have_changed().await
    }

    /// Notified at every attempt, because the files to watch may be others then.
    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    async fn reload_locked(
        &self,
        state: &mut ReloadState,
        trigger: Trigger,
    ) -> Result<Reloaded, ReloadError> {
        let started = Instant::now();
        self.supervisor.reloading();
        // Before the files are read, so that a later change counts as another one.
        state.seen = state.seen.again().await;
        let before = Arc::clone(&state.key_sets);
        let result = self.swap(state).await;
        log(trigger, started.elapsed(), &result);
        self.remember(state, trigger, started.elapsed(), &result);
        match &result {
            // The keys were all read just now.
            Ok(_) => before.say_that_they_are_back(),
            Err(_) => {
                look_again(&state.key_sets).await;
                self.refresh_lists_anyway(state).await;
            }
        }
        self.missing_keys.store(Arc::new(state.key_sets.missing()));
        metrics::reloaded(if result.is_ok() { "swapped" } else { "refused" });
        self.changed.notify_one();
        self.supervisor.ready(&self.gateway);
        result
    }

    /// Adds the result to the history.
    fn remember(
        &self,
        state: &mut ReloadState,
        trigger: Trigger,
        took: Duration,
        result: &Result<Reloaded, ReloadError>,
    ) {
        let number = self.gateway.generation.load().number;
        let changed = state.seen.differing(&state.served);
        let sha256 = state.seen.sha256(self.source.file.as_deref());
        let change = history::reload(number, trigger, took, result, (changed, sha256));
        self.history.add(change);
        if result.is_ok() {
            state.served = state.seen.clone();
        }
    }

    /// Options that differ from those of the start, and take effect only after a restart.
    fn needs_restart(&self, config: &Config) -> Vec<&'static str> {
        let mut options = self.server.differences(&config.server);
        if config.decisions != self.decisions {
            options.push("[decisions]");
        }
        if config.traces != self.traces {
            options.push("[traces]");
        }
        let cluster = self.builder.cluster();
        if cluster.is_some_and(|cluster| Some(cluster.settings()) != config.cluster.as_ref()) {
            options.push("[cluster]");
        }
        if config.data_dir != self.data_dir {
            options.push("data_dir");
        }
        options
    }

    async fn swap(&self, state: &mut ReloadState) -> Result<Reloaded, ReloadError> {
        let source = self.source.clone();
        let (mut config, mut diagnostics) = LOADING
            .run(move || source.read())
            .await
            .map_err(ReloadError::Panicked)?
            .map_err(ReloadError::Mistakes)?;
        state.seen = SeenFiles::of(&config).await;
        let needs_restart = self.needs_restart(&config);
        config.data_dir.clone_from(&self.data_dir);
        let before = self.gateway.generation.load_full();
        let Built {
            generation,
            key_sets,
            lists,
            destinations,
            cluster,
        } = self
            .builder
            .build(&config, Some(&before), &mut diagnostics)
            .await;
        let credentials = read_credentials(&config, &mut diagnostics).await?;
        let warnings = diagnostics.finish().map_err(ReloadError::Mistakes)?;
        warnings.log();
        self.credentials.replace(credentials);
        self.builder.lists().put(lists);
        self.builder.destinations().serve(&destinations);
        state.lists.clone_from(&config.lists);
        prepare_folders(&config, Some(&before));
        let number = generation.number;
        self.builder.serves(cluster);
        self.builder.share(&self.gateway);
        self.gateway.generation.store(Arc::new(generation));
        providers::start(&key_sets);
        self.key_sets.store(Arc::clone(&key_sets));
        state.key_sets = key_sets;
        let before = std::mem::replace(&mut state.options, config.options.clone());
        let diff = before.differences(&config.options);
        series::register_of(&config);
        self.retention
            .replace(recordings(&config), &config.data_dir);
        metrics::generation(number);
        Ok(Reloaded {
            generation: number,
            needs_restart,
            diff,
        })
    }
}

/// [`NewCredentials::read`], in a thread for blocking work.
async fn read_credentials(
    config: &Config,
    diagnostics: &mut Diagnostics,
) -> Result<NewCredentials, ReloadError> {
    let server = config.server.clone();
    let reading = LOADING.run(move || {
        let mut mistakes = Diagnostics::default();
        let credentials = NewCredentials::read(&server, &mut mistakes);
        (credentials, mistakes)
    });
    let (credentials, mistakes) = reading.await.map_err(ReloadError::Panicked)?;
    diagnostics.append(mistakes);
    Ok(credentials)
}

/// [`KeySets::look_again`], in a thread for blocking work.
async fn look_again(key_sets: &Arc<KeySets>) {
    let key_sets = Arc::clone(key_sets);
    // A panic was logged and counted where it happened. Another check follows.
    drop(LOADING.run(move || key_sets.look_again()).await);
}

/// Recordings of a configuration, by upstream.
fn recordings(config: &Config) -> impl Iterator<Item = (&str, &Recordings)> {
    let upstreams = config.upstreams.iter();
    upstreams.filter_map(|(name, upstream)| Some((name.as_str(), upstream.recordings()?)))
}
