//! Hot swap: a new generation beside the old one, and then in its place.
//!
//! The whole configuration is read again, every policy is compiled and asked
//! to validate its part, and then one pointer is swapped. Live connections keep
//! the route and the policies that they were accepted with. Where anything is
//! wrong with the new configuration nothing changes at all, and the report
//! says what and where.
//!
//! A reload takes up everything but `[server]`, `[decisions]` and `data_dir`:
//! listeners and files that are written belong to the process. What differs there is named
//! as needing a restart, and the rest is taken up. Of `[server]`, the certificate and its key are
//! taken up too: newcomers are shown the new one, and whoever is connected stays.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};
use tokio::time::Instant;

use crate::assemble::generation::{Builder, prepare_folders};
use crate::series;
use base::blocking::LOADING;
use base::diagnostics::Diagnostics;
use base::metrics;
use base::tls;
use config::{self, Config};
use gateway::routes::Gateway;
use keys::{Availability, KeySets};
use policy::settings;
use upstream::wav::Recordings;
use upstream::wav::retention::Retention;

pub mod files;
pub mod watch;

use files::Seen;

/// Where the configuration comes from, each time that it is read.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The file; the built-in configuration without one.
    pub file: Option<PathBuf>,
    /// `--data-dir`, which stands above the file.
    pub data_dir: Option<PathBuf>,
    /// `--listen`, which stands above the file.
    pub listen: Option<std::net::SocketAddr>,
}

impl Source {
    /// Reads the configuration, as [`Config::load`] does.
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

/// What made the gateway read its configuration again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// `POST /reload` on the admin listener.
    Request,
    /// The system told of a file that changed.
    File,
    /// A file had changed when the gateway looked, and no event had told of it.
    Poll,
}

impl Trigger {
    const fn word(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Request => "request",
            Self::File => "file",
            Self::Poll => "poll",
        }
    }
}

/// A generation was swapped in.
#[derive(Debug)]
pub struct Reloaded {
    /// Its number.
    pub generation: u64,
    /// Options that differ from what the process runs with.
    pub needs_restart: Vec<&'static str>,
}

/// Why nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The new configuration has mistakes.
    #[error("{0}")]
    Mistakes(Diagnostics),
    /// A bug of ours, survived.
    #[error("the configuration could not be read: {0}")]
    Panicked(tokio::task::JoinError),
}

/// Reads the configuration again when it is told to. One reload runs at a
/// time; the others wait for it, and then read again what is there by then.
pub struct Reloader {
    source: Source,
    builder: Builder,
    gateway: Arc<Gateway>,
    /// What the process was started with.
    server: config::Server,
    decisions: settings::Decisions,
    data_dir: PathBuf,
    /// Where the main listener gets its certificate, if it speaks TLS.
    tls: Option<tls::Acceptor>,
    retention: Retention,
    /// Told when the files may have changed, or be others.
    changed: Arc<Notify>,
    state: Arc<Mutex<State>>,
}

struct State {
    /// The files as of the last attempt, whatever came of it.
    seen: Seen,
    /// The keys of the generation that serves.
    key_sets: Arc<KeySets>,
    /// Whether all of them can be had.
    keys: Availability,
}

impl Reloader {
    /// For a gateway that was started with `config` and serves with `key_sets`,
    /// when its files were as `seen`. From now on old recordings are deleted as it says.
    #[must_use]
    pub fn new(
        source: Source,
        builder: Builder,
        gateway: Arc<Gateway>,
        config: &Config,
        key_sets: Arc<KeySets>,
        tls: Option<tls::Acceptor>,
        seen: Seen,
    ) -> Self {
        metrics::generation(gateway.generation.load().number);
        Self {
            source,
            builder,
            gateway,
            server: config.server.clone(),
            decisions: config.decisions.clone(),
            data_dir: config.data_dir.clone(),
            tls,
            retention: Retention::start(recordings(config), &config.data_dir),
            changed: Arc::default(),
            state: Arc::new(Mutex::new(State {
                seen,
                key_sets,
                keys: Availability::Whole,
            })),
        }
    }

    /// Reads everything again, and swaps it in if it is whole.
    ///
    /// # Errors
    /// [`ReloadError`]; the gateway serves on as before.
    pub async fn reload(self: &Arc<Self>, trigger: Trigger) -> Result<Reloaded, ReloadError> {
        let state = Arc::clone(&self.state).lock_owned().await;
        self.reload_apart(state, trigger).await
    }

    /// [`Reloader::reload`], if a file has another content than it had at the
    /// last attempt. What is wrong is in the log.
    pub(crate) async fn reload_if_changed(self: &Arc<Self>, trigger: Trigger) {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        let now = state.seen.again().await;
        if now != state.seen {
            // It was logged, and there is nobody else to tell.
            drop(self.reload_apart(state, trigger).await);
        } else {
            state.seen = now;
        }
    }

    /// Reloads on a thread of its own: it reads and makes files, and a disk may hang.
    async fn reload_apart(
        self: &Arc<Self>,
        mut state: OwnedMutexGuard<State>,
        trigger: Trigger,
    ) -> Result<Reloaded, ReloadError> {
        let (this, runtime) = (Arc::clone(self), Handle::current());
        let reloading =
            LOADING.run(move || runtime.block_on(this.reload_locked(&mut state, trigger)));
        reloading.await.map_err(ReloadError::Panicked)?
    }

    /// Whether all keys could be had at the last attempt.
    async fn keys(&self) -> Availability {
        self.state.lock().await.keys
    }

    /// WebAssembly modules that are instantiated at the moment.
    #[must_use]
    pub fn instances(&self) -> u64 {
        self.builder.instances()
    }

    /// Its files, as of the last attempt.
    async fn files(&self) -> BTreeSet<PathBuf> {
        self.state.lock().await.seen.files()
    }

    /// Whether [`Reloader::reload_if_changed`] is worth its while.
    async fn files_may_have_changed(&self) -> bool {
        let seen = self.state.lock().await.seen.clone();
        seen.may_have_changed().await
    }

    /// Told of every attempt: the files may be others now, and are to be watched afresh.
    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    async fn reload_locked(
        &self,
        state: &mut State,
        trigger: Trigger,
    ) -> Result<Reloaded, ReloadError> {
        let started = Instant::now();
        // Before anything is read: what changes after this is another change.
        state.seen = state.seen.again().await;
        let before = Arc::clone(&state.key_sets);
        let result = self.swap(state).await;
        log(trigger, started.elapsed(), &result);
        state.keys = match &result {
            // They were all read just now.
            Ok(_) => {
                before.say_that_they_are_back();
                Availability::Whole
            }
            Err(_) => look_again(&state.key_sets).await,
        };
        metrics::reloaded(if result.is_ok() { "swapped" } else { "refused" });
        self.changed.notify_one();
        result
    }

    async fn swap(&self, state: &mut State) -> Result<Reloaded, ReloadError> {
        let source = self.source.clone();
        let (mut config, mut diagnostics) = LOADING
            .run(move || source.read())
            .await
            .map_err(ReloadError::Panicked)?
            .map_err(ReloadError::Mistakes)?;
        state.seen = Seen::of(&config).await;
        let mut needs_restart = self.server.differences(&config.server);
        if config.decisions != self.decisions {
            needs_restart.push("[decisions]");
        }
        if config.data_dir != self.data_dir {
            needs_restart.push("data_dir");
            config.data_dir.clone_from(&self.data_dir);
        }
        let before = self.gateway.generation.load_full();
        let (generation, key_sets) = self
            .builder
            .build(&config, Some(&before), &mut diagnostics)
            .await;
        let certificate = self.certificate(&config, &mut diagnostics).await;
        let warnings = diagnostics.finish().map_err(ReloadError::Mistakes)?;
        warnings.log();
        if let (Some(tls), Some(certificate)) = (&self.tls, certificate) {
            tls.replace(certificate);
        }
        prepare_folders(&config, Some(&before));
        let number = generation.number;
        self.gateway.generation.store(Arc::new(generation));
        state.key_sets = key_sets;
        series::register_of(&config);
        self.retention
            .replace(recordings(&config), &config.data_dir);
        metrics::generation(number);
        Ok(Reloaded {
            generation: number,
            needs_restart,
        })
    }
}

impl Reloader {
    /// The certificate that newcomers are shown from now on; none where the process speaks plain
    /// TCP, or does not any more once it is restarted.
    async fn certificate(
        &self,
        config: &Config,
        diagnostics: &mut Diagnostics,
    ) -> Option<tls::Certificate> {
        let settings = self.tls.as_ref().and(config.server.tls.clone())?;
        let reading = LOADING.run(move || {
            let mut mistakes = Diagnostics::default();
            let certificate = tls::Certificate::read(&settings, &mut mistakes);
            (certificate, mistakes)
        });
        // A panic was logged, and counted, where it happened; the old certificate goes on.
        let (certificate, mistakes) = reading.await.ok()?;
        diagnostics.append(mistakes);
        certificate
    }
}

/// [`KeySets::look_again`], off the async threads.
async fn look_again(key_sets: &Arc<KeySets>) -> Availability {
    let key_sets = Arc::clone(key_sets);
    let looking = LOADING.run(move || key_sets.look_again());
    // A panic was logged, and counted, where it happened; another look is due.
    looking.await.unwrap_or(Availability::Lacking)
}

fn log(trigger: Trigger, took: Duration, result: &Result<Reloaded, ReloadError>) {
    let trigger = trigger.word();
    match result {
        Ok(Reloaded {
            generation,
            needs_restart,
        }) => {
            tracing::info!(trigger, generation, ?took, "reloaded");
            if !needs_restart.is_empty() {
                let options = needs_restart.join(", ");
                tracing::warn!(options, "these options changed, and need a restart");
            }
        }
        Err(error) => {
            tracing::error!(trigger, ?took, "not reloaded, nothing has changed: {error}");
        }
    }
}
/// What the upstreams of a configuration record, by name.
fn recordings(config: &Config) -> impl Iterator<Item = (&str, &Recordings)> {
    let upstreams = config.upstreams.iter();
    upstreams.filter_map(|(name, upstream)| Some((name.as_str(), upstream.recordings()?)))
}
