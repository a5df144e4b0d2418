//! Lease of a gateway: one for all of its claims.
//!
//! The gateway renews its lease each second by compare-and-set. It counts as held for [`FENCE`] from
//! the moment when the last renewal that succeeded began, by the gateway's own clock, which is less
//! than the servers keep it. Another gateway that finds no lease writes that it has ended, by
//! compare-and-set as well. If that succeeds, the next renewal is refused, and the gateway goes on
//! with another incarnation of its lease: claims of an earlier one count no longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::record::{LeaseRecord, LeaseState, json};
use super::records::{Records, Written};
use crate::connection::Away;
use base::metrics;

/// Time for which the servers keep a lease.
const LIFE: Duration = Duration::from_secs(20);
/// Time for which a gateway counts on its lease.
const FENCE: Duration = Duration::from_secs(15);
/// Interval of renewals.
const RENEWING: Duration = Duration::from_secs(1);
/// Pause after a renewal without an answer.
const PAUSE: Duration = Duration::from_millis(200);
/// Pause while a server does not know yet what came before.
const UNCLEAR: Duration = Duration::from_millis(20);
/// Time without a renewal after which other gateways may have said in vain that they took a key.
const GAP: Duration = Duration::from_secs(5);
/// Time for which the mark of an ended lease stays.
const MARK: Duration = Duration::from_secs(60);

/// Lease of this gateway.
pub(super) struct Lease {
    records: Arc<dyn Records>,
    gateway: String,
    term: watch::Sender<Option<Term>>,
    /// Set before the process ends.
    ends: AtomicBool,
}

/// Time in which the lease is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) incarnation: u64,
    /// Beginning of the renewals that had no gap.
    pub(super) since: Instant,
    /// Sequence number of the record.
    after: u64,
    until: Instant,
}

/// What the gateway knows of its lease's record.
struct Renewals {
    incarnation: u64,
    /// Sequence number of the record that is to be replaced.
    after: u64,
    /// Whether this incarnation was ever held.
    was_held: bool,
    /// Time of the latest one; at first, the beginning of the attempts.
    last: Instant,
    /// Beginning of those that had no gap.
    since: Instant,
}

fn name(gateway: &str) -> String {
    format!("lease.{gateway}")
}

impl Lease {
    pub(super) fn new(records: Arc<dyn Records>, gateway: String) -> Self {
        Self {
            records,
            gateway,
            term: watch::Sender::new(None),
            ends: AtomicBool::new(false),
        }
    }

    /// Renews the lease until the process ends. `begins` is called with each incarnation, and after
    /// each gap.
    pub(super) async fn keep(&self, begins: impl Fn() + Send) {
        let now = Instant::now();
        let mut renewals = Renewals {
            incarnation: 1,
            after: 0,
            was_held: false,
            last: now,
            since: now,
        };
        while !self.ends.load(Ordering::Relaxed) {
            let began = Instant::now();
            let record = LeaseRecord::new(renewals.incarnation, LeaseState::Held);
            let name = name(&self.gateway);
            let writing = self
                .records
                .write(&name, renewals.after, json(&record), Some(LIFE));
            match writing.await {
                Ok(Written::At(sequence)) => {
                    renewals.after = sequence;
                    let had_gap = renewals.last.elapsed() > GAP;
                    if had_gap {
                        renewals.since = Instant::now();
                    }
                    renewals.last = Instant::now();
                    self.term.send_replace(Some(Term {
                        incarnation: renewals.incarnation,
                        since: renewals.since,
                        after: sequence,
                        until: began + FENCE,
                    }));
                    if !std::mem::replace(&mut renewals.was_held, true) || had_gap {
                        begins();
                    }
                    metrics::lease_age(Duration::ZERO);
                    sleep_until(began + RENEWING).await;
                }
                Ok(Written::Lost) => {
                    self.look(&name, &mut renewals).await;
                    sleep(UNCLEAR).await;
                }
                Err(away) => {
                    tracing::debug!(%away, "the lease is not renewed");
                    sleep(PAUSE).await;
                }
            }
            metrics::lease_age(renewals.last.elapsed());
        }
    }

    /// Finds why a renewal was refused: by an earlier one whose answer was lost, or because the lease
    /// has ended.
    async fn look(&self, name: &str, renewals: &mut Renewals) {
        let found = match self.records.read(name).await {
            Ok(found) => found,
            Err(away) => {
                tracing::debug!(%away, "the lease is not known");
                sleep(PAUSE).await;
                return;
            }
        };
        let record = found.as_ref().and_then(|it| LeaseRecord::read(&it.content));
        let sequence = found.map_or(0, |found| found.sequence);
        let ours = LeaseRecord::new(renewals.incarnation, LeaseState::Held);
        if record == Some(ours) {
            // An earlier attempt, unless it is what a server that is cut off remembers.
            if sequence <= renewals.after {
                sleep(PAUSE).await;
            }
            renewals.after = sequence.max(renewals.after);
            return;
        }
        renewals.after = sequence;
        self.term.send_replace(None);
        if std::mem::take(&mut renewals.was_held) {
            metrics::lease_lost();
            tracing::warn!(
                "the lease of this gateway has ended: it claims anew what its sessions hold"
            );
        } else if record.is_none() {
            return;
        }
        let theirs = record.map_or(0, |record| record.incarnation);
        renewals.incarnation = renewals.incarnation.max(theirs) + 1;
    }

    /// Term of the lease, once it is held. `None` if it is not until then.
    pub(super) async fn held_before(&self, deadline: Instant) -> Option<Term> {
        let mut terms = self.term.subscribe();
        let held = terms.wait_for(|term| term.is_some_and(Term::is_on));
        *timeout_at(deadline, held).await.ok()?.ok()?
    }

    /// Whether this incarnation of the lease is held now.
    pub(super) fn holds(&self, incarnation: u64) -> bool {
        let term = *self.term.borrow();
        term.is_some_and(|term| term.incarnation == incarnation && term.is_on())
    }

    /// Whether an incarnation of another gateway's lease has ended. If there is no lease any more,
    /// ends it: only a write that succeeds proves that it was not renewed.
    pub(super) async fn has_ended(&self, gateway: &str, incarnation: u64) -> Result<bool, Away> {
        let name = name(gateway);
        let after = match self.records.read(&name).await? {
            Some(found) => match LeaseRecord::read(&found.content) {
                // What ended is an earlier one, and this one is not there.
                Some(record)
                    if record.state == LeaseState::Ended && record.incarnation < incarnation =>
                {
                    found.sequence
                }
                Some(record) => return Ok(record.has_ended(incarnation)),
                None if found.content.is_empty() => found.sequence,
                // It is of another version of the gateway.
                None => return Ok(false),
            },
            None => 0,
        };
        let ended = json(&LeaseRecord::new(incarnation, LeaseState::Ended));
        let written = self.records.write(&name, after, ended, Some(MARK)).await?;
        Ok(matches!(written, Written::At(_)))
    }

    /// Ends the lease, before the process does.
    pub(super) async fn end(&self) {
        self.ends.store(true, Ordering::Relaxed);
        let term = self.term.send_replace(None);
        let Some(term) = term else { return };
        let ended = json(&LeaseRecord::new(term.incarnation, LeaseState::Ended));
        let name = name(&self.gateway);
        let writing = self.records.write(&name, term.after, ended, Some(MARK));
        // A lease that is not renewed ends by itself.
        drop(writing.await);
    }
}

impl Term {
    fn is_on(self) -> bool {
        Instant::now() < self.until
    }
}
