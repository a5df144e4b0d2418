//! History of the start and the latest reloads, for operators who ask what has changed.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::outcome::{ReloadError, Reloaded, Trigger};
use crate::schema::{self, Generation};
use base::text;
use config::OptionsDiff;
use session::registry::unix_ms;

/// Maximum number of starts and reloads that are kept.
const MAX: usize = 32;
/// Maximum length of a report, in bytes.
const MAX_REPORT: usize = 4096;
/// Maximum number of changed files that are named.
const MAX_FILES: usize = 32;
/// Maximum number of options of each kind that are named.
const MAX_OPTIONS: usize = 64;

/// The latest starts and reloads.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Generation>>);

impl History {
    /// History that begins with the start.
    pub(super) fn of(start: Generation) -> Self {
        Self(Mutex::new(VecDeque::from([start])))
    }

    pub(super) fn add(&self, generation: Generation) {
        let mut latest = self.lock();
        if latest.len() >= MAX {
            // The latest that was swapped in stays: it says what still needs a restart.
            let swapped = latest.iter().rposition(|kept| kept.result == "swapped");
            latest.remove(usize::from(swapped == Some(0)));
        }
        latest.push_back(generation);
    }

    /// All that are kept, the latest first.
    pub(super) fn latest(&self) -> Vec<Generation> {
        self.lock().iter().rev().cloned().collect()
    }

    // A queue keeps its invariants at every step, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Generation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The start, with the SHA-256 of its configuration file.
pub(super) fn start(generation: u64, file_sha256: Option<String>) -> Generation {
    Generation {
        generation,
        at: schema::time(unix_ms()),
        trigger: "start".to_owned(),
        result: "swapped".to_owned(),
        file_sha256,
        ..Generation::default()
    }
}

/// A reload, with the files that differ from those of the generation before, and the SHA-256 of
/// its configuration file.
pub(super) fn reload(
    generation: u64,
    trigger: Trigger,
    took: Duration,
    result: &Result<Reloaded, ReloadError>,
    (changed, file_sha256): (BTreeSet<PathBuf>, Option<String>),
) -> Generation {
    let changed = changed.iter().take(MAX_FILES);
    let (word, needs_restart, diff, report) = match result {
        Ok(reloaded) => {
            let diff = reloaded.diff.clone();
            ("swapped", &*reloaded.needs_restart, diff, None)
        }
        Err(error) => {
            let report = Some(error.to_string());
            ("refused", &[][..], OptionsDiff::default(), report)
        }
    };
    let some = |options: Vec<String>| {
        let options = options.iter().take(MAX_OPTIONS);
        options.map(|option| text::clean(option, 256)).collect()
    };
    Generation {
        generation,
        at: schema::time(unix_ms()),
        trigger: trigger.word().to_owned(),
        result: word.to_owned(),
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        changed_files: changed
            .map(|file| text::clean(&file.to_string_lossy(), MAX_REPORT))
            .collect(),
        added: some(diff.added),
        removed: some(diff.removed),
        changed: some(diff.changed),
        needs_restart: needs_restart
            .iter()
            .map(|option| (*option).to_owned())
            .collect(),
        file_sha256,
        report: report.map(|report| text::clip(&report, MAX_REPORT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_come_first_and_the_oldest_go() {
        let number = |generation| Generation {
            generation,
            ..Generation::default()
        };
        let history = History::of(number(1));
        for generation in 2..=2 * MAX as u64 {
            history.add(number(generation));
        }
        let latest = history.latest();
        assert_eq!((latest.len(), latest[0].generation), (MAX, 2 * MAX as u64));
    }

    #[test]
    fn what_was_swapped_in_last_stays_however_often_a_reload_is_refused() {
        let change = |generation, result: &str| Generation {
            generation,
            result: result.to_owned(),
            ..Generation::default()
        };
        let history = History::of(change(1, "swapped"));
        history.add(change(2, "swapped"));
        for _ in 0..2 * MAX {
            history.add(change(2, "refused"));
        }
        let latest = history.latest();
        let swapped = latest.iter().find(|change| change.result == "swapped");
        assert_eq!(latest.len(), MAX);
        assert_eq!(swapped.map(|change| change.generation), Some(2));
    }
}
