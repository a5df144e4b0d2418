//! `sluice status`: the gateway as a whole.

use std::process::ExitCode;

use anyhow::Context as _;

use super::admin::AdminListener;
use super::table::{bytes, duration, list};
use super::{StatusArgs, print};
use crate::schema::{Answer, Status};

/// Prints the status.
///
/// # Errors
/// If the gateway does not answer.
pub async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let listener = AdminListener::of(&args.admin)?;
    let answer = listener.get::<Status>(&["status"], &[]).await?;
    let answer = answer.context("the gateway is older than this sluice, and has no status")?;
    print(args.admin.output(), &answer, show)
}

fn show(answer: &Answer<Status>) -> String {
    let Status {
        version,
        started,
        uptime_ms,
        generation,
        draining,
        connections,
        claims,
        memory_held_bytes,
        refusals_kept,
        keys,
        needs_restart,
        last_reload,
    } = &answer.body;
    let serving = if *draining { "draining" } else { "serving" };
    let files = match &*last_reload.changed_files {
        [] => String::new(),
        files => format!(", changed: {}", files.join(", ")),
    };
    list(&[
        (
            "gateway",
            format!("{serving}, version {version}, instance {}", answer.instance),
        ),
        (
            "started",
            format!("{started}, {} ago", duration(*uptime_ms)),
        ),
        (
            "connections",
            format!(
                "{} live, {} of them streaming, {} parked",
                connections.live, connections.streaming, connections.parked
            ),
        ),
        ("claims", claims.to_string()),
        ("memory held", bytes(*memory_held_bytes)),
        ("refusals kept", refusals_kept.to_string()),
        ("keys", keys.clone()),
        ("generation", generation.to_string()),
        (
            "last reload",
            format!(
                "{} by {} at {}{files}",
                last_reload.result, last_reload.trigger, last_reload.at
            ),
        ),
        ("report", last_reload.report.clone().unwrap_or_default()),
        ("needs a restart", needs_restart.join(", ")),
    ])
}
