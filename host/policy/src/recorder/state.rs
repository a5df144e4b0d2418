//! State of the record, as operators see it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::{metrics, text};

/// Maximum length of an error that is kept, in bytes.
const MAX_ERROR: usize = 512;

/// State of the record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordState {
    /// Why the latest attempt to write to it failed; `None` if it did not.
    pub error: Option<String>,
    /// Decisions that were made and not recorded.
    pub unrecorded: u64,
}

/// What the writer and those who hand decisions in say of the record.
#[derive(Debug, Default)]
pub(super) struct RecordHealth {
    error: Mutex<Option<String>>,
    unrecorded: AtomicU64,
}

/// State before an attempt to write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// The attempt before had succeeded, or there was none.
    Fine,
    /// It had failed as well.
    Failing,
}

impl RecordHealth {
    /// Counts decisions that were not recorded.
    pub(super) fn lost(&self, reason: &'static str, decisions: u64) {
        metrics::unrecorded(reason, decisions);
        self.unrecorded.fetch_add(decisions, Ordering::Relaxed);
    }

    /// The record was written.
    pub(super) fn wrote(&self) {
        *self.lock() = None;
    }

    /// The record could not be written.
    pub(super) fn failed(&self, error: &io::Error) -> Before {
        let error = text::clean(&error.to_string(), MAX_ERROR);
        match self.lock().replace(error) {
            None => Before::Fine,
            Some(_) => Before::Failing,
        }
    }

    /// State now.
    pub(super) fn state(&self) -> RecordState {
        RecordState {
            error: self.lock().clone(),
            unrecorded: self.unrecorded.load(Ordering::Relaxed),
        }
    }

    // One value is usable at every step, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
