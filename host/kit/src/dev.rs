//! `sluice policy dev`: builds, tests and serves a project, and does so again at every change.
//!
//! The gateway is the program itself, started with the project's configuration. It sees a new
//! component by itself, as every gateway does, and so the command serves as operators do.

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use futures_util::future::select_all;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;

use super::project::Project;
use super::test;
use crate::arguments::DevArgs;

mod client;
mod gateway;
mod tone;
mod watch;

use gateway::Gateway;
use watch::Watch;

/// Runs `sluice policy dev`, until it is told to stop.
///
/// # Errors
/// If there is no project, or the system gives no signals.
pub async fn run(args: &DevArgs) -> anyhow::Result<ExitCode> {
    let project = Project::find(&args.project)?;
    let mut stops = stops().context("no signals")?;
    let mut gateway = None;
    tokio::select! {
        done = work(args, &project, &mut gateway) => match done {},
        () = stopped(&mut stops) => {}
    }
    if let Some(gateway) = gateway {
        gateway.end().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds, tests and serves, at every change.
async fn work(args: &DevArgs, project: &Project, gateway: &mut Option<Gateway>) -> Infallible {
    let mut watch = Watch::of(project);
    loop {
        test_apart(args).await;
        if gateway.is_none() && project.component().is_file() {
            match serve(args, project).await {
                Ok(served) => *gateway = Some(served),
                Err(error) => eprintln!("{error:#}"),
            }
        }
        println!("waiting for a change in {}", project.folder.display());
        let changed = tokio::select! {
            changed = watch.changed(project) => changed,
            ended = Gateway::ended(gateway.as_mut()) => {
                *gateway = None;
                eprintln!("the gateway has ended ({ended}); it begins again at the next change");
                watch.changed(project).await
            }
        };
        let shown = changed.strip_prefix(&project.folder).unwrap_or(&changed);
        println!("\n{} has changed", shown.display());
    }
}

/// Builds and tests on another thread, because builds block, and a signal must be heard meanwhile.
async fn test_apart(args: &DevArgs) {
    let started = Instant::now();
    let (runtime, args) = (Handle::current(), args.test());
    let testing = spawn_blocking(move || runtime.block_on(test::run(&args)));
    match testing.await {
        Ok(Ok(_)) => println!(
            "tested {:.1} s after it began",
            started.elapsed().as_secs_f64()
        ),
        Ok(Err(error)) => eprintln!("{error:#}"),
        Err(error) => eprintln!("the tests have ended: {error}"),
    }
}

/// Signals that stop the command. A terminal that is closed sends a hangup, on which the gateway
/// alone would read its configuration anew and stay.
fn stops() -> std::io::Result<[Signal; 4]> {
    Ok([
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::quit())?,
    ])
}

async fn stopped(stops: &mut [Signal]) {
    let waiting = stops.iter_mut().map(|stop| Box::pin(stop.recv()));
    select_all(waiting).await;
}

/// Starts the gateway, and prints a line that speaks to it once it listens.
async fn serve(args: &DevArgs, project: &Project) -> anyhow::Result<Gateway> {
    let config = project.folder.join("sluice.toml");
    let tone = tone::write(&project.folder.join("build"))?;
    let tone: PathBuf = args.project.join("build").join(tone);
    let listen = gateway::free(args.listen)?;
    let line = client::line(args, listen, &config, &project.component(), &tone)?;
    let mut gateway = Gateway::start(&config, listen)?;
    gateway.listens(listen).await?;
    println!("{line}");
    Ok(gateway)
}
