//! Decisions about somebody, from the decision record.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::iter;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kit::lines::Lines;
use policy::record::{Effect, HostAnswer, HostCall, Line, index};

/// Maximum number of decisions that are kept, the latest.
const MAX: usize = 64;

/// Decisions about somebody that were found.
pub(crate) struct Recorded {
    /// The latest ones, in their order.
    pub(crate) lines: Vec<Line>,
    /// File of the latest.
    pub(crate) file: PathBuf,
    /// Why a line that may be about them is left out.
    pub(crate) left_out: Option<anyhow::Error>,
}

/// The latest decisions of a session, or the refusals of a user whom a policy had verified, in the
/// record and in those that were put aside before it. Blocks.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn about(whom: &str, file: &Path) -> anyhow::Result<Recorded> {
    let mut recorded = Recorded {
        lines: Vec::new(),
        file: file.to_owned(),
        left_out: None,
    };
    // From the latest to the oldest.
    for file in iter::once(file.to_owned()).chain(put_aside(file)?) {
        let mut lines = within(whom, &file, &mut recorded.left_out)?;
        lines.reverse();
        if recorded.lines.is_empty() && !lines.is_empty() {
            recorded.file = file;
        }
        recorded.lines.append(&mut lines);
        recorded.lines.truncate(MAX);
        if recorded.lines.len() == MAX {
            break;
        }
    }
    recorded.lines.reverse();
    Ok(recorded)
}

/// Records that were put aside, from the latest to the oldest: `decisions.jsonl.1` and so on. One
/// between them may be missing.
fn put_aside(file: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let unreadable = || format!("the folder {} cannot be read", folder.display());
    let mut before = file.file_name().unwrap_or_default().to_owned();
    before.push(".");
    let place = |name: &OsStr| {
        let place = name.as_encoded_bytes();
        let place = place.strip_prefix(before.as_encoded_bytes())?;
        let place = str::from_utf8(place).ok()?;
        let is_number = place.bytes().all(|byte| byte.is_ascii_digit());
        place.parse::<u64>().ok().filter(|_| is_number)
    };
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        if let Some(place) = place(&entry.file_name())
            && entry.path().is_file()
        {
            files.push((place, entry.path()));
        }
    }
    files.sort_unstable();
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

/// The latest decisions in one file.
fn within(
    whom: &str,
    file: &Path,
    left_out: &mut Option<anyhow::Error>,
) -> anyhow::Result<Vec<Line>> {
    let found =
        index::find(file, whom).with_context(|| format!("{} cannot be read", file.display()))?;
    let is_about = |line: &Line| line.session == whom || (is_refusal(line) && is_of(line, whom));
    let (mut lines, unknown) = match at(file, &found.places, is_about) {
        Some(lines) => (lines, found.unknown),
        // An index that is wrong once is not believed at all.
        None => (BTreeMap::new(), iter::once(0..u64::MAX).collect()),
    };
    // Escaped as in the record, so that lines about others need not be parsed.
    let named = serde_json::to_string(whom)?;
    for part in unknown {
        let start = part.start;
        let asked = Lines::within(file, part)?.with(named.clone());
        // Numbers are places enough: no line is shorter than a byte.
        for (number, line) in (start..).zip(asked) {
            match line {
                Ok(line) if is_about(&line) => drop(lines.insert(number, line)),
                Ok(_) => {}
                Err(error) => drop(left_out.get_or_insert(error)),
            }
            if lines.len() > MAX {
                lines.pop_first();
            }
        }
    }
    Ok(lines.into_values().collect())
}

/// The latest of the decisions at these places of a file; `None` if one is not there.
fn at(
    file: &Path,
    places: &[u64],
    is_about: impl Fn(&Line) -> bool,
) -> Option<BTreeMap<u64, Line>> {
    let latest = places.iter().rev().take(MAX);
    let lines = latest.map(|place| {
        let line = Lines::within(file, *place..u64::MAX).ok()?.next()?.ok()?;
        is_about(&line).then_some((*place, line))
    });
    lines.collect()
}

/// Whether a decision refused a connection.
pub(crate) fn is_refusal(line: &Line) -> bool {
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

#[cfg(test)]
mod tests;
