//! Time of a gateway from its start until it listens: when it must compile everything, and when an
//! earlier start has compiled it.

use std::time::Duration;

use anyhow::Context as _;

use crate::cli::{Cli, StartArgs};
use crate::gateway::Home;
use crate::report::{Latencies, Rows};
use crate::token;

/// Starts it once in an empty folder, and then repeatedly in the same folder.
pub async fn run(cli: &Cli, args: &StartArgs) -> anyhow::Result<Rows> {
    let more = match &args.more {
        Some(file) => std::fs::read_to_string(file).context("--more cannot be read")?,
        None => String::new(),
    };
    let home = Home::new(cli.gateway.as_deref(), &token::fresh_secret()?, &more)?;
    let cold = home.start().await?.took();
    let mut warm = Latencies::default();
    for _ in 0..args.starts {
        warm.add(home.start().await?.took());
    }
    let mut rows = Rows::default();
    rows.add("cold, until it listens", milliseconds(cold));
    rows.add("warm, until it listens", warm.summary());
    Ok(rows)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}
