//! Gateway with upstreams that fail on demand. The binary `sluice` cannot be configured to fail.
//!
//! An upstream with a name `fault-WHEN-HOW` fails when and how its name says, and otherwise behaves
//! as the upstream that is configured.

#![forbid(unsafe_code)]

mod upstream;

use std::process::ExitCode;

use clap::Parser as _;
use sluice::cli::{Cli, Command};
use sluice::logs;
use sluice::serve;

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Serve(args) => {
            let runtime = tokio::runtime::Runtime::new()?;
            let _logs = logs::init()?;
            logs::log_panics();
            runtime.block_on(serve::serve(&args, upstream::build))?;
            Ok(ExitCode::SUCCESS)
        }
        // The gateway starts its own program for that, whichever it is.
        Command::CompileComponent(args) => Ok(args.run()),
        _ => anyhow::bail!("this gateway can only serve"),
    }
}
