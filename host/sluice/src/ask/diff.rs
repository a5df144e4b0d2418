//! `sluice config`: the schema of the configuration, and what a reload would change.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use super::admin::AdminListener;
use super::table::{Row, list};
use super::{DiffArgs, Output, print};
use crate::schema::ConfigDiff;
use base::diagnostics::Mistakes;
use config::Config;

/// Prints the JSON Schema of the configuration.
///
/// # Errors
/// If standard output cannot be written.
pub fn config_schema() -> anyhow::Result<ExitCode> {
    let schema = serde_json::to_string_pretty(&config::json_schema())?;
    print(Output::Text, &schema, |schema| format!("{schema}\n"))
}

/// Prints what differs between two files, or between the file of a running gateway and what it
/// serves.
///
/// # Errors
/// If a file cannot be read, or the gateway does not answer.
pub async fn config_diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    if let [old, new] = &*args.files {
        let (old, new) = (read(old)?, read(new)?);
        let mut needs_restart = old.server.differences(&new.server);
        if old.decisions != new.decisions {
            needs_restart.push("[decisions]");
        }
        if old.traces != new.traces {
            needs_restart.push("[traces]");
        }
        if old.cluster.is_some() && old.cluster != new.cluster {
            needs_restart.push("[cluster]");
        }
        let data_dir = |config: &Config| config.options.value("the file", "data_dir");
        if data_dir(&old) != data_dir(&new) {
            needs_restart.push("data_dir");
        }
        let diff = ConfigDiff {
            needs_restart: needs_restart.into_iter().map(str::to_owned).collect(),
            ..ConfigDiff::of(old.options.differences(&new.options))
        };
        return print(args.admin.output(), &diff, show);
    }
    let listener = AdminListener::of(&args.admin)?;
    let answer = listener.get::<ConfigDiff>(&["config", "diff"], &[]).await?;
    let answer = answer.context("the gateway is older than this sluice")?;
    print(args.admin.output(), &answer, |answer| show(&answer.body))
}

fn read(file: &Path) -> anyhow::Result<Config> {
    let (config, diagnostics) = Config::load(Some(file)).map_err(Mistakes)?;
    // Warnings are `sluice check`'s.
    drop(diagnostics.finish().map_err(Mistakes)?);
    Ok(config)
}

fn show(diff: &ConfigDiff) -> String {
    let ConfigDiff {
        added,
        removed,
        changed,
        changed_files,
        needs_restart,
        report,
    } = diff;
    let mut rows: Vec<Row> = Vec::new();
    for (name, entries) in [
        ("added", added),
        ("removed", removed),
        ("changed", changed),
        ("changed file", changed_files),
        ("needs a restart", needs_restart),
    ] {
        rows.extend(entries.iter().map(|entry| (name, entry.clone())));
    }
    rows.extend(report.iter().map(|report| ("refused", report.clone())));
    if rows.is_empty() {
        return "nothing differs\n".to_owned();
    }
    list(&rows)
}
