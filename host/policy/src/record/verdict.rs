//! What came of a call, in a line of the record.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::destinations::AnswerError;
use crate::verdict::{Unanswered, Verdict};
use base::rejection::Rejection;

/// What came of a call, as a line says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum RecordedVerdict {
    /// Go on.
    Accept,
    /// Refuse, in these words.
    Reject {
        /// The close code, of those that a policy may use.
        close_code: u16,
        /// The word of the error frame.
        code: String,
        /// The sentence for the client.
        message: String,
        /// Whether the same client may try again unchanged.
        retryable: bool,
        /// How long it should wait first.
        retry_after_ms: Option<u64>,
        /// It was told that keys could not be had, so the client was told that
        /// instead.
        #[serde(default)]
        keys_unavailable: bool,
    },
    /// A service gave no answer, and the operator wants the connection refused then.
    Unanswered {
        /// The destination.
        destination: String,
        /// Why there is no answer.
        error: AnswerError,
    },
    /// It broke.
    Failed {
        /// `trap`, `busy` or `limit-*`, as in the metrics.
        failure: String,
        /// What happened, for the operator.
        detail: String,
    },
    /// Nobody waited for the answer: the client left, the admission's time ran
    /// out, or the gateway closed.
    Abandoned,
}

impl From<&Verdict> for RecordedVerdict {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Accept => Self::Accept,
            Verdict::Reject(rejection) => Self::reject(rejection.clone(), false),
            Verdict::KeysUnavailable(rejection) => Self::reject(rejection.clone(), true),
            Verdict::Unanswered(Unanswered { destination, error }) => Self::Unanswered {
                destination: destination.clone(),
                error: *error,
            },
            Verdict::ClientFault(fault) => Self::reject(fault.rejection(), false),
            Verdict::Failed(failure) => Self::Failed {
                failure: failure.word().to_owned(),
                detail: failure.to_string(),
            },
        }
    }
}

impl RecordedVerdict {
    fn reject(rejection: Rejection, keys_unavailable: bool) -> Self {
        let millis = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        Self::Reject {
            close_code: rejection.close_code,
            code: rejection.code,
            message: rejection.message,
            retryable: rejection.retryable,
            retry_after_ms: rejection.retry_after.map(millis),
            keys_unavailable,
        }
    }
}
