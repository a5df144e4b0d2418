//! The gateway with upstreams that fail on demand. It exists only here: the
//! binary `sluice` cannot be configured to fail.
//!
//! An upstream whose name says so, `fault-WHEN-HOW`, fails when and how its
//! name says, and does all else as the upstream that was configured.

#![forbid(unsafe_code)]

mod upstream;

use clap::Parser as _;
use sluice::cli::{Cli, Command};
use sluice::{logs, serve};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Command::Serve(args) = Cli::parse().command else {
        anyhow::bail!("this gateway can only serve");
    };
    let _logs = logs::init()?;
    logs::log_panics();
    serve::serve(&args, upstream::build).await
}
