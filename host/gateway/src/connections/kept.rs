//! Decision as a live connection keeps it, in half the memory.

use std::sync::Arc;
use std::time::Duration;

use policy::{OnFailure, Record, Verdict};

/// Decision as a live connection keeps it. An idle connection keeps its decisions for hours, and
/// nearly all of them are acceptances, which have nothing to say.
#[derive(Debug)]
pub(super) struct Kept {
    policy: Arc<str>,
    digest: Option<Arc<str>>,
    at_ms: u64,
    took: Duration,
    on_failure: OnFailure,
    /// `None`: the policy accepted.
    other: Option<Box<Option<Verdict>>>,
}

impl From<Record> for Kept {
    fn from(record: Record) -> Self {
        let Record {
            policy,
            digest,
            at_ms,
            verdict,
            on_failure,
            took,
        } = record;
        Self {
            policy,
            digest,
            at_ms,
            took,
            on_failure,
            other: (verdict != Some(Verdict::Accept)).then(|| Box::new(verdict)),
        }
    }
}

impl Kept {
    /// The decision as it was.
    pub(super) fn record(&self) -> Record {
        let verdict = self.other.as_deref().cloned();
        Record {
            policy: Arc::clone(&self.policy),
            digest: self.digest.clone(),
            at_ms: self.at_ms,
            verdict: verdict.unwrap_or(Some(Verdict::Accept)),
            on_failure: self.on_failure,
            took: self.took,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::Failure;

    #[test]
    fn a_decision_comes_out_as_it_went_in_and_takes_little() {
        let verdicts = [
            None,
            Some(Verdict::Accept),
            Some(Verdict::Failed(Failure::Busy)),
        ];
        for verdict in verdicts {
            let record = Record {
                policy: "p".into(),
                digest: Some("sha256:0".into()),
                at_ms: 7,
                verdict,
                on_failure: OnFailure::Open,
                took: Duration::from_millis(3),
            };
            assert_eq!(Kept::from(record.clone()).record(), record);
        }
        assert!(2 * size_of::<Kept>() <= size_of::<Record>());
    }
}
