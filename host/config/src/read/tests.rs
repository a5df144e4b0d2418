//! What the reader makes of a file, and of every way to get it wrong.

use std::ffi::OsString;
use std::path::Path;

use super::{ConfigText, read};
use crate::Config;
use base::diagnostics::Diagnostics;

mod best_effort;
mod cluster;
mod effects;
mod example;
mod impossible;
mod key_sets;
mod mistakes;
mod registries;
mod report;
mod traces;

/// A configuration without mistakes, for tests to break.
const GOOD: &str = r#"
[key_sets.main]
generate = true

[policies.auth]
component = "builtin:auth"
grants = ["jwt"]
config = { key_set = "main" }

[policies.rate]
component = "builtin:sample-rate"

[upstreams.sink]
kind = "discard"

[routes.ingest]
paths = ["/ws/{meeting_id}"]
on_connect = ["auth"]
on_handshake = ["rate"]
upstream = "sink"
"#;

fn environment(name: &str) -> Option<OsString> {
    match name {
        "MARKED_SECRET" => Some("\u{feff}0123456789abcdef0123456789abcdef".into()),
        "LONG_SECRET" => Some("0123456789abcdef0123456789abcdef".into()),
        "SHORT_SECRET" => Some("HUSH".into()),
        _ => None,
    }
}

fn origin<'a>(text: &'a str, folder: &'a Path) -> ConfigText<'a> {
    ConfigText {
        name: "sluice.toml",
        text,
        folder,
        environment: &environment,
    }
}

fn load_in(folder: &Path, text: &str) -> Result<(Config, Diagnostics), Diagnostics> {
    read(&origin(text, folder))
}

fn load(text: &str) -> Result<(Config, Diagnostics), Diagnostics> {
    load_in(Path::new("/etc/sluice"), text)
}

/// The configuration in `text`, which must be without mistakes.
#[track_caller]
fn good(text: &str) -> Config {
    let (config, diagnostics) = load(text).unwrap_or_else(|report| panic!("{report}"));
    assert!(diagnostics.is_empty(), "{diagnostics}");
    config
}

/// The warnings about `text`, which must be without mistakes, on one line.
#[track_caller]
fn warnings(text: &str) -> String {
    let (_, diagnostics) = load(text).unwrap_or_else(|report| panic!("{report}"));
    let warnings = diagnostics
        .finish()
        .unwrap_or_else(|report| panic!("{report}"));
    let report = warnings.render(base::diagnostics::Look::Plain);
    report.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The report about `text`, which must have mistakes.
#[track_caller]
fn report(text: &str) -> String {
    report_in(Path::new("/etc/sluice"), text)
}

#[track_caller]
fn report_in(folder: &Path, text: &str) -> String {
    let diagnostics = match load_in(folder, text) {
        Ok((_, diagnostics)) | Err(diagnostics) => diagnostics,
    };
    assert!(!diagnostics.is_empty(), "no mistake was found in {text}");
    diagnostics.to_string()
}

/// [`GOOD`] with one thing replaced.
#[track_caller]
fn broken(good: &str, bad: &str) -> String {
    assert!(GOOD.contains(good), "{good} is not there to be broken");
    GOOD.replace(good, bad)
}

/// Breaks [`GOOD`] by replacing `good` with `bad`, and looks for what an
/// operator must read about it: what is wrong, and what to do.
#[track_caller]
fn mistake(good: &str, bad: &str, message: &str, help: &str) {
    let report = report(&broken(good, bad));
    // The report is wrapped to its width.
    let flat = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains(message), "no {message:?} in\n{report}");
    assert!(flat.contains(help), "no {help:?} in\n{report}");
    assert!(report.contains("sluice.toml:"), "no line in\n{report}");
    assert!(
        report.contains("1 mistake in"),
        "more than one mistake:\n{report}"
    );
}

/// Like [`mistake`], with a line added to the route.
#[track_caller]
fn in_route(line: &str, message: &str, help: &str) {
    mistake(
        "upstream = \"sink\"",
        &format!("upstream = \"sink\"\n{line}"),
        message,
        help,
    );
}

/// Like [`mistake`], with a line added to the policy `auth`.
#[track_caller]
fn in_policy(line: &str, message: &str, help: &str) {
    mistake(
        "grants = [\"jwt\"]",
        &format!("grants = [\"jwt\"]\n{line}"),
        message,
        help,
    );
}

/// Every option that the reader asks for.
fn asked() -> std::collections::BTreeSet<(&'static str, &'static str)> {
    let kinds = ["wav", "websocket", "jetstream"]
        .map(|kind| format!("[upstreams.{kind}]\nkind = \"{kind}\"\n"));
    let text = format!("{GOOD}{}", kinds.concat());
    let asked = super::asked(&origin(&text, Path::new("")));
    asked.shapes.into_keys().collect()
}
