//! `sluice status`: the gateway as a whole.

use std::process::ExitCode;

use anyhow::Context as _;

use super::admin::AdminListener;
use super::table::{bytes, duration, list};
use super::{StatusArgs, print};
use crate::schema::{Answer, KeySet, Status, UncleanStop};

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
        checks,
        connections,
        claims,
        memory_held_bytes,
        refusals_kept,
        missing_keys,
        key_sets,
        needs_restart,
        unclean_stop,
        last_reload,
    } = &answer.body;
    let serving = if *draining { "draining" } else { "serving" };
    let failed = checks.iter().filter_map(|check| {
        let reason = check.reason.as_deref()?;
        Some(("not ready", format!("{}: {reason}", check.name)))
    });
    let files = match &*last_reload.changed_files {
        [] => String::new(),
        files => format!(", changed: {}", files.join(", ")),
    };
    let mut rows = vec![
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
        ("missing keys", missing_keys.join(", ")),
        ("fetched keys", fetched(key_sets)),
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
        (
            "unclean stop",
            unclean_stop.as_ref().map(unclean).unwrap_or_default(),
        ),
    ];
    rows.splice(1..1, failed);
    list(&rows)
}

/// The unclean stop before this run, in a line.
fn unclean(stop: &UncleanStop) -> String {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    format!(
        "instance {}, last seen at {}, cut {} sessions",
        known(&stop.instance),
        known(&stop.seen),
        stop.sessions
    )
}

/// Key sets of identity providers, in a line.
fn fetched(key_sets: &[KeySet]) -> String {
    let mut said = Vec::new();
    for set in key_sets.iter().filter(|set| set.source == "provider") {
        let at = set.fetched.as_deref().unwrap_or("never");
        let failed = set.error.as_deref();
        let failed = failed.map_or_else(String::new, |error| format!(", then failed: {error}"));
        said.push(format!("{} ({} keys, {at}{failed})", set.name, set.keys));
    }
    said.join("; ")
}
