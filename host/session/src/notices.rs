//! Notices of policies to a client, which refuse nothing.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base::metrics;

/// Maximum number of notices to one client.
pub const MAX_NOTICES: usize = 32;

/// Warning to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientNotice {
    /// Name of the policy that sends it.
    pub policy: Arc<str>,
    /// Machine-readable word.
    pub code: String,
    /// Sentence for a person.
    pub message: String,
}

/// What became of notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notified {
    /// How many the client is to be sent.
    pub kept: usize,
    /// How many were too many.
    pub dropped: usize,
}

/// Notices of one session. Most sessions have none, and pay a pointer for that.
#[derive(Debug, Default)]
pub(crate) struct Notices(OnceLock<Box<Mutex<Waiting>>>);

#[derive(Debug, Default)]
struct Waiting {
    notices: Vec<ClientNotice>,
    /// How many there were in all.
    count: usize,
}

impl Notices {
    /// Adds notices, as far as there is room.
    pub(crate) fn add(&self, notices: Vec<ClientNotice>) -> Notified {
        if notices.is_empty() {
            return Notified {
                kept: 0,
                dropped: 0,
            };
        }
        let waiting = self.0.get_or_init(Box::default);
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_NOTICES - waiting.count;
        let kept = notices.len().min(room);
        let dropped = notices.len() - kept;
        waiting.count += kept;
        waiting.notices.extend(notices.into_iter().take(kept));
        Notified { kept, dropped }
    }

    /// Takes those that were not taken yet.
    pub(crate) fn take(&self) -> Vec<ClientNotice> {
        let Some(waiting) = self.0.get() else {
            return Vec::new();
        };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut waiting.notices)
    }
}

/// Those that are left when the session ends are never sent: the client was refused, or is gone.
impl Drop for Notices {
    fn drop(&mut self) {
        for notice in self.take() {
            metrics::notices_dropped(&notice.policy, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_so_many_notices_in_all() {
        let notices = Notices::default();
        let some = |count| {
            let notice = ClientNotice {
                policy: "p".into(),
                code: "c".to_owned(),
                message: "m".to_owned(),
            };
            vec![notice; count]
        };
        assert_eq!(
            notices.add(some(30)),
            Notified {
                kept: 30,
                dropped: 0
            }
        );
        assert_eq!(notices.take().len(), 30);
        assert_eq!(
            notices.add(some(30)),
            Notified {
                kept: 2,
                dropped: 28
            }
        );
        assert_eq!(
            notices.add(some(1)),
            Notified {
                kept: 0,
                dropped: 1
            }
        );
        assert_eq!(notices.take().len(), 2);
        assert_eq!(notices.take().len(), 0);
    }
}
