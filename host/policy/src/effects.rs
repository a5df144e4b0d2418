//! What a policy says beside its answer: notices to the client, and counters among the gateway's
//! metrics.
//!
//! A call gathers them, and they take effect once its answer does. Those of a call that fails, is
//! undone, or is only watched have none.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use base::metrics;
use session::notices::ClientNotice;
use session::registry::Session;

use crate::verdict::Verdict;

/// Maximum number of notices of one call.
pub const MAX_NOTICES: usize = 4;
/// Maximum number of additions to counters by one call.
pub(crate) const MAX_COUNTS: usize = 16;
/// Maximum number of series of one policy.
pub(crate) const MAX_SERIES: usize = 64;
/// Maximum length of a code, a name or a label, in bytes.
pub(crate) const MAX_WORD: usize = 64;
/// Name of the counter that has what found no room in its own.
pub const BEYOND: &str = "_beyond";

/// What a call said beside its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// Notices to the client.
    pub notices: Vec<ClientNotice>,
    /// Notices that were too many.
    pub notices_beyond: u64,
    /// Additions to counters.
    pub counts: Vec<Count>,
}

/// Addition to a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Name of the counter.
    pub name: String,
    /// Its label; empty if it has none.
    pub label: String,
    /// How much.
    pub amount: u64,
}

impl Effects {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.notices_beyond == 0 && self.counts.is_empty()
    }

    /// Adds a notice, if there is room for it.
    pub(crate) fn notify(&mut self, notice: ClientNotice) {
        if self.notices.len() < MAX_NOTICES {
            self.notices.push(notice);
        } else {
            self.notices_beyond += 1;
        }
    }

    /// Adds to a counter, or to the one for what finds no room.
    pub(crate) fn count(&mut self, count: Count) {
        let same = |there: &&mut Count| there.name == count.name && there.label == count.label;
        if let Some(there) = self.counts.iter_mut().find(same) {
            there.amount += count.amount;
        } else if self.counts.len() < MAX_COUNTS {
            self.counts.push(count);
        } else {
            self.count_beyond(count.amount);
        }
    }

    fn count_beyond(&mut self, amount: u64) {
        match self.counts.iter_mut().find(|count| count.name == BEYOND) {
            Some(there) => there.amount += amount,
            None => self.counts.push(Count {
                name: BEYOND.to_owned(),
                label: String::new(),
                amount,
            }),
        }
    }

    /// Lets them take effect on the connection that a policy has answered about.
    /// A copy of a session has no client of its own, and is the same session to whoever counts.
    pub(crate) fn take_effect(self, policy: &str, session: &Session, verdict: &Verdict) {
        if session.is_copy() {
            return;
        }
        for count in self.counts {
            counted(policy, count);
        }
        let sent = match verdict {
            Verdict::Accept => session.notify(self.notices),
            // Its client has the error frame.
            _ => session::notices::Notified {
                kept: 0,
                dropped: self.notices.len(),
            },
        };
        if sent.dropped > 0 || self.notices_beyond > 0 {
            let dropped = self.notices_beyond + sent.dropped as u64;
            metrics::notices_dropped(policy, dropped);
        }
    }
}

/// Series that policies have, by policy. They stay for the life of the process, as those of every
/// metric do.
static SERIES: LazyLock<Mutex<HashMap<Arc<str>, Series>>> = LazyLock::new(Mutex::default);

/// Series of one policy.
#[derive(Debug, Default)]
struct Series {
    /// The labels by name.
    labels: HashMap<String, HashSet<String>>,
    /// Number of pairs of name and label.
    count: usize,
}

impl Series {
    /// Whether it has this one. Looking for it copies nothing.
    fn has(&self, name: &str, label: &str) -> bool {
        let labels = self.labels.get(name);
        labels.is_some_and(|labels| labels.contains(label))
    }

    /// Adds one that it does not have, if there is room for it.
    fn add(&mut self, name: &str, label: &str) -> bool {
        let has_room = self.count < MAX_SERIES;
        if has_room {
            let labels = self.labels.entry(name.to_owned()).or_default();
            labels.insert(label.to_owned());
            self.count += 1;
        }
        has_room
    }
}

fn counted(policy: &str, count: Count) {
    let Count {
        name,
        label,
        amount,
    } = count;
    if name != BEYOND && has_series(policy, &name, &label) {
        metrics::policy_counted(policy, &name, &label, amount);
    } else {
        metrics::policy_counted(policy, BEYOND, "", amount);
    }
}

/// Whether a policy has this series, or may have one more.
fn has_series(policy: &str, name: &str, label: &str) -> bool {
    let mut all = SERIES.lock().unwrap_or_else(PoisonError::into_inner);
    match all.get_mut(policy) {
        Some(series) => series.has(name, label) || series.add(name, label),
        None => all.entry(policy.into()).or_default().add(name, label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, label: &str) -> Count {
        Count {
            name: name.to_owned(),
            label: label.to_owned(),
            amount: 2,
        }
    }

    #[test]
    fn what_a_call_adds_beyond_its_room_is_counted_in_one_place() {
        let mut effects = Effects::default();
        for number in 0..100 {
            effects.count(count("streams", &number.to_string()));
            effects.count(count("streams", "0"));
        }
        assert_eq!(effects.counts.len(), MAX_COUNTS + 1);
        assert_eq!(effects.counts[0].amount, 202);
        let all: u64 = effects.counts.iter().map(|count| count.amount).sum();
        assert_eq!(all, 400);
        assert_eq!(effects.counts[MAX_COUNTS].name, BEYOND);
    }

    #[test]
    fn a_policy_has_so_many_series_and_leaves_others_theirs() {
        for number in 0..MAX_SERIES {
            assert!(has_series("many", "streams", &number.to_string()));
        }
        assert!(!has_series("many", "streams", "one more"));
        assert!(has_series("many", "streams", "0"));
        assert!(has_series("another", "streams", "one more"));
    }

    #[test]
    fn notices_beyond_a_few_are_counted() {
        let mut effects = Effects::default();
        for _ in 0..MAX_NOTICES + 3 {
            effects.notify(ClientNotice {
                policy: "p".into(),
                code: "c".to_owned(),
                message: "m".to_owned(),
            });
        }
        assert_eq!(
            (effects.notices.len(), effects.notices_beyond),
            (MAX_NOTICES, 3)
        );
    }

    #[test]
    fn a_renewed_token_has_nothing_said_once_more() {
        let registry = session::registry::Registry::default();
        let guard = session::testing::start(&registry, "s");
        let renewal = Session::renewal(guard.session(), "token".into());
        let said = || Effects {
            notices: vec![ClientNotice {
                policy: "renewed".into(),
                code: "c".to_owned(),
                message: "m".to_owned(),
            }],
            notices_beyond: 0,
            counts: vec![count("streams", "")],
        };
        let has_counted = || SERIES.lock().unwrap().contains_key("renewed");
        said().take_effect("renewed", &renewal, &Verdict::Accept);
        assert_eq!((renewal.take_notices(), has_counted()), (Vec::new(), false));
        said().take_effect("renewed", guard.session(), &Verdict::Accept);
        assert_eq!(guard.session().take_notices(), said().notices);
        assert!(has_counted());
    }
}
