//! `sluice policy dev`: builds, tests and serves a project, and does so again at every change.
//!
//! The gateway is the program itself, started with the project's configuration. It sees a new
//! component by itself, as every gateway does, and so the command serves as operators do.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

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
    let mut interrupted = signal(SignalKind::interrupt()).context("no signals")?;
    let mut terminated = signal(SignalKind::terminate()).context("no signals")?;
    let mut watch = Watch::of(&project);
    let mut gateway: Option<Gateway> = None;
    loop {
        let started = Instant::now();
        match test::run(&args.test()).await {
            Ok(_) => println!(
                "tested {:.1} s after it began",
                started.elapsed().as_secs_f64()
            ),
            Err(error) => eprintln!("{error:#}"),
        }
        let config = project.folder.join("sluice.toml");
        if gateway.is_none() && project.component().is_file() {
            match serve(args, &config, &project) {
                Ok(served) => gateway = Some(served),
                Err(error) => eprintln!("{error:#}"),
            }
        }
        println!("waiting for a change in {}", project.folder.display());
        tokio::select! {
            () = watch.changed(&project) => {}
            ended = Gateway::ended(gateway.as_mut()) => {
                gateway = None;
                eprintln!("the gateway has ended ({ended}); it begins again at the next change");
                tokio::select! {
                    () = watch.changed(&project) => {}
                    _ = interrupted.recv() => break,
                    _ = terminated.recv() => break,
                }
            }
            _ = interrupted.recv() => break,
            _ = terminated.recv() => break,
        }
        println!();
    }
    drop(gateway);
    Ok(ExitCode::SUCCESS)
}

/// Starts the gateway, and prints a line that speaks to it.
fn serve(args: &DevArgs, config: &Path, project: &Project) -> anyhow::Result<Gateway> {
    let tone = tone::write(&project.folder.join("build"))?;
    let tone: PathBuf = args.project.join("build").join(tone);
    let line = client::line(args, config, &project.component(), &tone)?;
    let gateway = Gateway::start(config, args.listen)?;
    println!("{line}");
    Ok(gateway)
}
