//! `sluice serve`: from the command line to a clean exit.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind};

use crate::admin::{self, Admin, AdminListeners};
use crate::assemble::generation::prepare_folders;
use crate::assemble::upstreams::{self, BuildUpstreams};
use crate::assemble::{Assembled, assemble};
use crate::cli::{CheckArgs, ServeArgs};
use crate::lock::DataLock;
use crate::logs::patience::print_within;
use crate::providers;
use crate::reload::files::SeenFiles;
use crate::reload::{ConfigSource, Reloader, Trigger, watch};
use crate::series;
use crate::supervisor::Supervisor;
use crate::unclean::{self, RunFile};
use base::blocking::LOADING;
use base::diagnostics::Look;
use base::diagnostics::{Mistakes, Warnings};
use base::metrics;
use cluster::Cluster;
use config;
use config::{Config, OnChange};
use gateway::server;
use gateway::server::Listener;
use gateway::watchdog;
use policy::recorder::Recorder;
use traces::export::Prepared;
use wire::proxies::preamble::Preamble;

mod greet;
mod handover;
mod held;
mod listeners;
mod signals;
mod stop;
mod streams;

use handover::{Offer, Predecessor};
use held::Held;
use listeners::{Given, Listeners};
use stop::{Signals, Stopping};

/// Time limit for printing the banner, or the reason why the gateway does not run. Standard error
/// may be a pipe that nothing reads.
const PRINTING: Duration = Duration::from_secs(2);
/// Time for the gateway that hands over to let go of the data folder.
const LETTING_GO: Duration = Duration::from_secs(10);
/// Time limit for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Runs the gateway until it is told to stop. `upstreams` builds its upstreams, so that a test can
/// use one that fails.
///
/// # Errors
/// [`Mistakes`], or the resource that the machine lacks.
pub async fn serve(args: &ServeArgs, upstreams: BuildUpstreams) -> anyhow::Result<()> {
    let source = ConfigSource {
        file: args.place.config.clone(),
        data_dir: args.place.data_dir.clone(),
        listen: args.listen,
    };
    // First, so that an early signal does not end the process.
    let hangups = signals::listen(SignalKind::hangup())?;
    let reopenings = signals::listen(SignalKind::user_defined1())?;
    signals::survive()?;
    let (config, seen, assembled, warnings) = load(&source, upstreams).await?;
    let export = prepare_export(&config).await?;
    warnings.log();
    let mut given = Given::by_manager()?;
    let folder = if args.take_over {
        let (predecessor, sockets) = handover::ask(&config.data_dir).await?;
        given.and_by_predecessor(sockets);
        Folder::OfPredecessor(predecessor)
    } else {
        Folder::Locked(DataLock::take(&config.data_dir)?)
    };
    // Whatever may fail comes before the predecessor leaves.
    let supervisor = Supervisor::start()?;
    let recorder = metrics::install()?;
    series::register();
    if let Some(cluster) = assembled.builder.cluster() {
        tokio::spawn(connect(cluster.clone()));
    }
    let signals = Signals::listen()?;
    let listeners = Listeners::bind(&config.server, given)?;
    let shared = listeners.shared()?;
    watchdog::start().context("the watchdog's thread could not be started")?;
    let lock = match folder {
        Folder::Locked(lock) => lock,
        Folder::OfPredecessor(predecessor) => {
            predecessor.leave().await?;
            DataLock::take_within(&config.data_dir, LETTING_GO).await?
        }
    };
    let unclean_stop = unclean::notice(&config.data_dir);
    prepare_folders(&config, None);
    let Listeners {
        clients,
        addresses,
        admin,
        probes,
    } = listeners;
    // Before anybody is told that the gateway listens, so that any crash after that is noticed.
    let run_file = RunFile::begin(&config.data_dir, Arc::clone(&assembled.gateway)).await;
    assembled.builder.share(&assembled.gateway);
    let streams = streams::restore(&lock, &config.data_dir, &assembled.gateway).await;
    greet::greet(&config, &source, &assembled, &addresses)?;
    for (address, (_, preamble)) in addresses.iter().zip(&clients) {
        let proxies_only = *preamble == Preamble::Expected;
        tracing::info!(%address, proxies_only, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    series::register_of(&config);
    let Assembled {
        gateway,
        credentials,
        builder,
        key_sets,
    } = assembled;
    builder.lists().count();
    let decisions = builder.recorder().clone();
    let export = export.map(Prepared::start).map(|(tracer, export)| {
        // Nothing is traced before this.
        let _ = gateway.tracer.set(tracer);
        export
    });
    providers::start(&key_sets);
    let reloader = Reloader::new(
        source,
        builder,
        Arc::clone(&gateway),
        &config,
        key_sets,
        credentials.clone(),
        seen,
    );
    let reloader = Arc::new(reloader.telling(supervisor.clone()));
    tokio::spawn(reload_on_signal(hangups, Arc::clone(&reloader)));
    tokio::spawn(reopen_on_signal(reopenings, decisions.clone()));
    if config.server.watch == OnChange::Reload {
        tokio::spawn(watch::watch(Arc::clone(&reloader)));
    }
    let header_timeout = config.server.header_timeout;
    let admin = AdminListeners { admin, probes };
    admin.log()?;
    admin::serve(
        admin,
        &Admin::new(Arc::clone(&gateway), reloader, recorder).after(unclean_stop),
        &config.server,
        &credentials,
    );
    let serving = clients.into_iter().map(|(socket, preamble)| {
        let listener = Listener {
            socket,
            tls: credentials.clients.clone(),
            preamble,
        };
        let serve = server::serve(listener, Arc::clone(&gateway), header_timeout);
        tokio::spawn(serve)
    });
    let serving = serving.collect();
    supervisor.ready(&gateway);
    tokio::spawn(supervisor.clone().attend(Arc::clone(&gateway)));
    let stopping = Stopping {
        gateway: Arc::clone(&gateway),
        supervisor,
        listeners: serving,
        held: Held {
            lock,
            run_file,
            streams,
            decisions,
        },
    };
    let offer = Offer::begin(&config.data_dir, &stopping.held.lock, shared);
    stopping.run(signals, offer, &config.server).await?;
    if !gateway.shutdown.is_abandoned() {
        gateway.registry.close().await;
    }
    if let Some(export) = export {
        export.finish(LAST_SPANS).await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Data folder, before this process serves from it.
enum Folder {
    /// It is this process's.
    Locked(DataLock),
    /// Another process has it.
    OfPredecessor(Predecessor),
}

/// Reads the configuration, builds everything and reports all mistakes.
///
/// # Errors
/// [`Mistakes`], or the resource that the machine lacks.
pub async fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let source = ConfigSource {
        file: args.config.clone(),
        ..ConfigSource::default()
    };
    let (config, .., warnings) = load(&source, upstreams::build).await?;
    drop(prepare_export(&config).await?);
    // A closed standard error cannot be reported.
    drop(std::io::stderr().write_all(warnings.render(Look::of(&std::io::stderr())).as_bytes()));
    let count =
        |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let mut out = std::io::stdout();
    writeln!(
        out,
        "fine: {}, {}, {}",
        count(config.routes.len(), "route", "routes"),
        count(config.policies.len(), "policy", "policies"),
        count(config.upstreams.len(), "upstream", "upstreams"),
    )?;
    Ok(())
}

async fn load(
    source: &ConfigSource,
    upstreams: BuildUpstreams,
) -> anyhow::Result<(Config, SeenFiles, Assembled, Warnings)> {
    let (config, mut diagnostics) = source.read().map_err(Mistakes)?;
    let seen = SeenFiles::of(&config).await;
    let assembled = assemble(&config, upstreams, &mut diagnostics).await?;
    let warnings = diagnostics.finish().map_err(Mistakes)?;
    Ok((config, seen, assembled, warnings))
}

/// Prepares the export of traces, if there is one.
async fn prepare_export(config: &Config) -> anyhow::Result<Option<Prepared>> {
    let Some(settings) = config.traces.clone() else {
        return Ok(None);
    };
    let preparing = LOADING.run(move || Prepared::new(&settings));
    let prepared = preparing.await.context("[traces]")?;
    Ok(Some(prepared.context("[traces]")?))
}

/// Connects to NATS. Nobody waits for it.
async fn connect(cluster: Cluster) {
    if let Err(error) = cluster.start().await {
        tracing::error!(%error, "streams cannot be kept in NATS");
    }
}

async fn reload_on_signal(mut hangups: Signal, reloader: Arc<Reloader>) {
    while hangups.recv().await.is_some() {
        // The result is in the log.
        drop(reloader.reload(Trigger::Signal).await);
    }
}

/// Opens the decision record again under its name, after a tool such as logrotate has renamed the
/// file.
async fn reopen_on_signal(mut reopenings: Signal, decisions: Recorder) {
    while reopenings.recv().await.is_some() {
        tracing::info!("SIGUSR1: the decision record is opened again");
        decisions.reopen();
    }
}

/// Logs why the gateway does not run. Programs that read its log need no other form for this.
pub fn log_failure(error: &anyhow::Error) {
    match error.downcast_ref::<Mistakes>() {
        Some(mistakes) => {
            mistakes.0.log();
            let number = mistakes.0.len();
            tracing::error!(mistakes = number, "the gateway does not start: {mistakes}");
        }
        None => tracing::error!(error = format!("{error:#}"), "the gateway does not run"),
    }
}

/// Prints the report of [`Mistakes`], or the error with its causes.
pub fn report(error: &anyhow::Error) {
    let text = match error.downcast_ref::<Mistakes>() {
        Some(Mistakes(diagnostics)) => diagnostics.render(Look::of(&std::io::stderr())).to_string(),
        None => format!("sluice: {error:#}\n"),
    };
    let printed = print_within(PRINTING, move || {
        std::io::stderr().write_all(text.as_bytes())
    });
    // A closed or unread standard error cannot be reported.
    drop(printed);
}
