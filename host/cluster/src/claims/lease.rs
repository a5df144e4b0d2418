//! Lease of a gateway: one for all of its claims.
//!
//! The gateway renews its lease each second by compare-and-set. It counts as held for a time ([`Times`]) from
//! the moment when the last renewal that succeeded began, by the gateway's own clock, which is less
//! than the servers keep it. Another gateway that finds no lease writes that it has ended, by
//! compare-and-set as well. If that succeeds, the next renewal is refused, and the gateway goes on
//! with another incarnation of its lease: claims of an earlier one count no longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::members::Describe;
use super::record::{LeaseRecord, LeaseState, json};
use super::records::{Records, Written};
use crate::connection::Away;
use base::metrics;

/// Pause after a renewal without an answer.
const PAUSE: Duration = Duration::from_millis(200);
/// Pause while a server does not know yet what came before.
const UNCLEAR: Duration = Duration::from_millis(20);
/// Time for which the mark of an ended lease stays.
const MARK: Duration = Duration::from_secs(60);

/// Times of a lease.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Time for which the servers keep a lease. They count in whole seconds.
    pub life: Duration,
    /// Time for which a gateway counts on its lease, which must be less.
    pub fence: Duration,
    /// Interval of renewals.
    pub renewing: Duration,
    /// Time without a renewal after which other gateways may have said in vain that they took a key.
    pub gap: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            life: Duration::from_secs(20),
            fence: Duration::from_secs(15),
            renewing: Duration::from_secs(1),
            gap: Duration::from_secs(5),
        }
    }
}

/// Lease of this gateway.
pub(super) struct Lease {
    records: Arc<dyn Records>,
    gateway: String,
    times: Times,
    describe: Describe,
    term: watch::Sender<Option<Term>>,
    /// Set before the process ends.
    ends: AtomicBool,
}

/// Time in which the lease is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// Number that grows whenever the gateway has lost its lease.
    pub incarnation: u64,
    /// Beginning of the renewals that had no gap.
    pub since: Instant,
    /// Sequence number of the record.
    after: u64,
    /// Time until which the gateway counts on it.
    pub until: Instant,
}

/// Whether a gateway counts on its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It does.
    On,
    /// It was not renewed for too long.
    NoLonger,
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
    pub(super) fn new(
        records: Arc<dyn Records>,
        gateway: String,
        times: Times,
        describe: Describe,
    ) -> Self {
        Self {
            records,
            gateway,
            times,
            describe,
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
            let record = LeaseRecord::held(renewals.incarnation, (self.describe)());
            let name = name(&self.gateway);
            let life = Some(self.times.life);
            let writing = self
                .records
                .write(&name, renewals.after, json(&record), life);
            match writing.await {
                Ok(Written::At(sequence)) => {
                    renewals.after = sequence;
                    let had_gap = renewals.last.elapsed() > self.times.gap;
                    if had_gap {
                        renewals.since = Instant::now();
                    }
                    renewals.last = Instant::now();
                    self.term.send_replace(Some(Term {
                        incarnation: renewals.incarnation,
                        since: renewals.since,
                        after: sequence,
                        until: began + self.times.fence,
                    }));
                    if !std::mem::replace(&mut renewals.was_held, true) || had_gap {
                        begins();
                    }
                    metrics::lease_age(Duration::ZERO);
                    sleep_until(began + self.times.renewing).await;
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
        let is_ours = |record: &LeaseRecord| record.is_held(renewals.incarnation);
        if record.as_ref().is_some_and(is_ours) {
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

    /// Terms of the lease, as they begin and end.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn terms(&self) -> watch::Receiver<Option<Term>> {
        self.term.subscribe()
    }

    /// Time since the beginning of the latest renewal that succeeded, and whether the gateway counts on
    /// it. `None` if it has no lease.
    pub(super) fn age(&self) -> Option<(Duration, Counted)> {
        let term = (*self.term.borrow())?;
        let now = Instant::now();
        let left = term.until.saturating_duration_since(now);
        let over = now.saturating_duration_since(term.until);
        let counted = match term.is_on() {
            true => Counted::On,
            false => Counted::NoLonger,
        };
        Some(((self.times.fence + over).saturating_sub(left), counted))
    }

    /// Whether this incarnation of the lease is held now.
    pub(super) fn holds(&self, incarnation: u64) -> bool {
        let term = *self.term.borrow();
        term.is_some_and(|term| term.incarnation == incarnation && term.is_on())
    }

    /// Waits until NATS has answered this gateway for this time from now on, without a gap.
    pub(super) async fn lasts(&self, time: Duration) {
        let mut since = Instant::now();
        loop {
            sleep_until(since + time).await;
            let (now, term) = (Instant::now(), *self.term.borrow());
            match term {
                Some(term) if now + self.times.fence < term.until + self.times.gap => {
                    if term.since <= since {
                        return;
                    }
                    since = term.since;
                }
                _ => since = now,
            }
        }
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
