//! Decisions about somebody, from the decision record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kit::lines::Lines;
use policy::record::{Effect, HostAnswer, HostCall, Line, index};

/// Maximum number of decisions that are kept, the latest.
const MAX: usize = 64;

/// The latest decisions of a session, or the refusals of a user whom a policy had verified, in the
/// record and in those that were put aside before it, and the file of the latest. Blocks.
///
/// # Errors
/// If a file cannot be read, or is no record.
pub(super) fn about(whom: &str, file: &Path) -> anyhow::Result<(Vec<Line>, PathBuf)> {
    let mut latest = Vec::new();
    let mut file = file.to_owned();
    let first = file.clone();
    let mut has_latest = file.clone();
    for place in 1.. {
        // From the latest to the oldest.
        let mut lines = within(whom, &file)?;
        lines.reverse();
        if latest.is_empty() && !lines.is_empty() {
            has_latest.clone_from(&file);
        }
        latest.append(&mut lines);
        latest.truncate(MAX);
        file = aside(&first, place);
        if latest.len() == MAX || !file.exists() {
            break;
        }
    }
    latest.reverse();
    Ok((latest, has_latest))
}

/// A record that was put aside: `decisions.jsonl.1` and so on.
fn aside(file: &Path, place: u32) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{place}"));
    name.into()
}

/// The latest decisions in one file.
fn within(whom: &str, file: &Path) -> anyhow::Result<Vec<Line>> {
    let found =
        index::find(file, whom).with_context(|| format!("{} cannot be read", file.display()))?;
    let is_about = |line: &Line| line.session == whom || (is_refusal(line) && is_of(line, whom));
    // Escaped as in the record, so that lines about others need not be parsed.
    let named = serde_json::to_string(whom)?;
    let mut lines = BTreeMap::new();
    for part in found.unknown {
        let start = part.start;
        let asked = Lines::within(file, part)?.with(named.clone());
        // Numbers are places enough: no line is shorter than a byte.
        for (number, line) in (start..).zip(asked) {
            let line = line?;
            if is_about(&line) {
                lines.insert(number, line);
                if lines.len() > MAX {
                    lines.pop_first();
                }
            }
        }
    }
    let mut missing = MAX;
    for place in found.places.into_iter().rev() {
        let line = Lines::within(file, place..u64::MAX)?.next().transpose()?;
        // Two names may have one key.
        if let Some(line) = line.filter(|line| is_about(line)) {
            lines.insert(place, line);
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    let skipped = lines.len().saturating_sub(MAX);
    Ok(lines.into_values().skip(skipped).collect())
}

/// Whether a decision refused a connection.
pub(super) fn is_refusal(line: &Line) -> bool {
    matches!(line.effect, Effect::Refused | Effect::FailedClosed)
}

/// Whether a policy had verified this user by then, or did so in this decision.
fn is_of(line: &Line, user: &str) -> bool {
    let mut attributes = line.input.attributes.iter();
    let is_named = attributes.any(|(name, value)| name.ends_with(".user_id") && value == user);
    let mut calls = line.calls.iter();
    is_named
        || calls.any(|call| match call {
            HostCall::Verify {
                answer: HostAnswer::Ok(claims),
                ..
            } => claims["user_id"] == user || claims["sub"] == user,
            _ => false,
        })
}
