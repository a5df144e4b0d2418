//! A load generator: real streams, as the deployed Mac app sends them, and
//! what they cost the gateway.
//!
//! It is made to be cheap itself: one thread, frames that are built and masked
//! once, no WebSocket library in the way of a frame. It reports CPU time of
//! the gateway rather than wall time wherever it can, because the first hardly
//! depends on what else the machine does.

use anyhow::Context as _;
use clap::Parser as _;

mod cli;
mod client;
mod floor;
mod frames;
mod gateway;
mod held;
mod ingest;
mod machine;
mod modes;
mod process;
mod proxy;
mod report;
mod server;
mod target;
mod token;

use cli::{Cli, Mode};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    machine::raise_descriptor_limit().context("the limit of open files could not be raised")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not start")?;
    match &cli.mode {
        Some(mode) => runtime.block_on(run(&cli, mode)),
        None => Mode::all()
            .iter()
            .try_for_each(|mode| runtime.block_on(run(&cli, mode))),
    }
}

/// One mode, with a gateway of its own.
async fn run(cli: &Cli, mode: &Mode) -> anyhow::Result<()> {
    let prepare = || target::Target::prepare(cli, mode);
    let rows = match mode {
        Mode::Stream(args) => modes::stream::run(prepare().await?, args).await?,
        Mode::Idle(args) => modes::idle::run(prepare().await?, args).await?,
        Mode::Churn(args) => modes::churn::run(prepare().await?, args).await?,
        Mode::Admission(args) => modes::admission::run(cli, mode, args).await?,
        Mode::Floor => return floor::serve().await,
        Mode::Echo(args) => modes::echo::run(prepare().await?, args).await?,
        Mode::Start(args) => modes::start::run(cli, args).await?,
        Mode::Attack(args) => modes::attack::run(prepare().await?, args).await?,
        Mode::Relay(args) => modes::relay::run(cli, args).await?,
    };
    println!("{}", rows.titled(&mode.describe()));
    Ok(())
}
