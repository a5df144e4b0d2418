//! Circuit breaker of one service.
//!
//! It opens when the service cannot be reached several times in a row, or when requests for several
//! clients in a row fail in other ways. The input of a client may make a service fail, so one client
//! alone does not count for others. After a pause one request at a time finds out whether the service
//! is back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::metrics;
use session::registry::Client;
use tokio::time::Instant;

/// Attempts in a row that cannot reach the service, or clients in a row whose requests fail.
const AFTER: usize = 5;
/// Time without requests.
pub(super) const PAUSE: Duration = Duration::from_secs(5);

/// Circuit breaker.
pub(super) struct Breaker {
    destination: Arc<str>,
    state: Mutex<State>,
    /// Whether the metric of the destination is about this one.
    is_shown: AtomicBool,
}

enum State {
    /// Requests are made.
    Closed {
        /// Attempts in a row that did not reach the service.
        unreachable: usize,
        /// Clients in a row whose requests failed.
        failed: Vec<Client>,
    },
    /// No requests are made, but for a probe from time to time.
    Open {
        /// Time of the next probe.
        until: Instant,
        /// Whether a probe is under way.
        is_probed: bool,
        /// Clients whose probes failed since.
        tried: Vec<Client>,
        /// Time when these may try again.
        forgotten: Instant,
    },
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection came about, whatever the request was.
    Unreachable,
    /// It failed for this client.
    For(Client),
}

/// A request that may be made. Dropping it says nothing about the service.
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    kind: Kind,
}

/// What an attempt says about the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One of many, while the service is well.
    Ordinary,
    /// Whether the service is back.
    Probe,
    /// Nothing: it is for a policy that decides nothing.
    Watching,
}

impl Breaker {
    /// For a service that is well.
    pub(super) fn new(destination: Arc<str>) -> Self {
        Self {
            destination,
            state: Mutex::new(State::WELL),
            is_shown: AtomicBool::new(false),
        }
    }

    /// Has the metric tell about this one from now on, as its destination serves.
    pub(super) fn show(&self) {
        self.is_shown.store(true, Ordering::Relaxed);
        let state = match &*self.lock() {
            State::Closed { .. } => metrics::DestinationBreaker::Closed,
            State::Open { .. } => metrics::DestinationBreaker::Open,
        };
        metrics::destination_breaker(&self.destination, state);
    }

    /// Leaves the metric to another one, as its destination does not serve any more.
    pub(super) fn hide(&self) {
        self.is_shown.store(false, Ordering::Relaxed);
        metrics::destination_breaker(&self.destination, metrics::DestinationBreaker::Closed);
    }

    fn changed(&self, state: metrics::DestinationBreaker) {
        if self.is_shown.load(Ordering::Relaxed) {
            metrics::destination_breaker(&self.destination, state);
        }
    }

    /// Whether no requests are made now.
    #[cfg(test)]
    fn is_open(&self) -> bool {
        matches!(*self.lock(), State::Open { .. })
    }

    /// A request for this client, if one may be made now.
    pub(super) fn enter(&self, client: Client) -> Option<Attempt<'_>> {
        let kind = match &mut *self.lock() {
            State::Closed { .. } => Kind::Ordinary,
            State::Open {
                until,
                is_probed,
                tried,
                forgotten,
            } => {
                let now = Instant::now();
                if now >= *forgotten {
                    tried.clear();
                    *forgotten = now + PAUSE;
                }
                if now < *until || *is_probed || tried.contains(&client) {
                    return None;
                }
                *is_probed = true;
                Kind::Probe
            }
        };
        Some(Attempt {
            breaker: self,
            kind,
        })
    }

    /// A request for a policy that decides nothing, while the service is well. What comes of it
    /// changes nothing for those that decide.
    pub(super) fn enter_watching(&self) -> Option<Attempt<'_>> {
        match &*self.lock() {
            State::Closed { .. } => Some(Attempt {
                breaker: self,
                kind: Kind::Watching,
            }),
            State::Open { .. } => None,
        }
    }

    // No state is half changed, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const WELL: Self = Self::Closed {
        unreachable: 0,
        failed: Vec::new(),
    };

    fn open() -> Self {
        let until = Instant::now() + PAUSE;
        Self::Open {
            until,
            is_probed: false,
            tried: Vec::new(),
            forgotten: until,
        }
    }
}

impl Attempt<'_> {
    /// The service answered.
    pub(super) fn answered(mut self) {
        if self.kind == Kind::Watching {
            return;
        }
        let was_open = {
            let mut state = self.breaker.lock();
            match &mut *state {
                State::Open { .. } if self.kind != Kind::Probe => return,
                State::Open { .. } => {
                    *state = State::WELL;
                    true
                }
                State::Closed { .. } => {
                    *state = State::WELL;
                    false
                }
            }
        };
        self.kind = Kind::Ordinary;
        if was_open {
            let destination = &*self.breaker.destination;
            self.breaker.changed(metrics::DestinationBreaker::Closed);
            tracing::info!(destination, "the service answers again, and is asked again");
        }
    }

    /// The service failed.
    pub(super) fn failed(mut self, failure: Failure, cause: &str) {
        if self.kind == Kind::Watching {
            return;
        }
        let mut state = self.breaker.lock();
        let opens = match (&mut *state, failure) {
            (State::Closed { unreachable, .. }, Failure::Unreachable) => {
                *unreachable += 1;
                *unreachable >= AFTER
            }
            (State::Closed { failed, .. }, Failure::For(client)) => {
                if !failed.contains(&client) {
                    failed.push(client);
                }
                failed.len() >= AFTER
            }
            // A request that began before the breaker opened.
            (State::Open { .. }, _) if self.kind != Kind::Probe => return,
            (State::Open { .. }, Failure::Unreachable) => {
                *state = State::open();
                false
            }
            (
                State::Open {
                    is_probed, tried, ..
                },
                Failure::For(client),
            ) => {
                *is_probed = false;
                tried.push(client);
                if tried.len() >= AFTER {
                    *state = State::open();
                }
                false
            }
        };
        if opens {
            *state = State::open();
        }
        drop(state);
        self.kind = Kind::Ordinary;
        if opens {
            let destination = &*self.breaker.destination;
            self.breaker.changed(metrics::DestinationBreaker::Open);
            tracing::warn!(
                destination,
                cause,
                pause = ?PAUSE,
                "the service keeps failing, and is not asked for a while"
            );
        }
    }
}

impl Drop for Attempt<'_> {
    /// A probe that nobody waited for is made again.
    fn drop(&mut self) {
        if self.kind == Kind::Probe
            && let State::Open { is_probed, .. } = &mut *self.breaker.lock()
        {
            *is_probed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new("entitlements".into())
    }

    fn fails(breaker: &Breaker, client: u8) {
        let client = Client::numbered(client);
        let attempt = breaker.enter(client).unwrap();
        attempt.failed(Failure::For(client), "500");
    }

    fn may(breaker: &Breaker, client: u8) -> bool {
        breaker.enter(Client::numbered(client)).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_whose_requests_fail_does_not_open_it_for_others() {
        let breaker = breaker();
        for _ in 0..100 {
            fails(&breaker, 1);
        }
        assert!(may(&breaker, 2));
        for client in 2..=5 {
            fails(&breaker, client);
        }
        assert!(breaker.is_open());
        assert!(!may(&breaker, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn policies_that_decide_nothing_neither_open_it_nor_find_out_whether_the_service_is_back()
    {
        let breaker = breaker();
        for _ in 0..100 {
            let attempt = breaker.enter_watching().unwrap();
            attempt.failed(Failure::Unreachable, "refused");
        }
        assert!(!breaker.is_open());
        for client in 1..=5 {
            fails(&breaker, client);
            if let Some(attempt) = breaker.enter_watching() {
                attempt.answered();
            }
        }
        assert!(breaker.is_open());
        tokio::time::advance(PAUSE).await;
        assert!(breaker.enter_watching().is_none());
        assert!(may(&breaker, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_between_keeps_it_closed() {
        let breaker = breaker();
        for client in 1..=8 {
            fails(&breaker, client);
            breaker.enter(Client::numbered(9)).unwrap().answered();
        }
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_cannot_be_reached_counts_whoever_asks() {
        let breaker = breaker();
        for _ in 0..AFTER {
            let attempt = breaker.enter(Client::numbered(1)).unwrap();
            attempt.failed(Failure::Unreachable, "refused");
        }
        assert!(!may(&breaker, 2));
        tokio::time::advance(PAUSE).await;
        let probe = breaker.enter(Client::numbered(1)).unwrap();
        assert!(!may(&breaker, 2), "one probe at a time");
        probe.failed(Failure::Unreachable, "refused");
        assert!(!may(&breaker, 2));
        tokio::time::advance(PAUSE).await;
        breaker.enter(Client::numbered(1)).unwrap().answered();
        assert!(may(&breaker, 1) && may(&breaker, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_probe_failed_leaves_the_next_one_to_another() {
        let breaker = breaker();
        for client in 1..=5 {
            fails(&breaker, client);
        }
        tokio::time::advance(PAUSE).await;
        fails(&breaker, 1);
        assert!(!may(&breaker, 1));
        // Nobody waited for this one.
        drop(breaker.enter(Client::numbered(2)).unwrap());
        breaker.enter(Client::numbered(2)).unwrap().answered();
        assert!(may(&breaker, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_client_there_is_may_probe_again_after_a_pause() {
        let breaker = breaker();
        for client in 1..=5 {
            fails(&breaker, client);
        }
        tokio::time::advance(PAUSE).await;
        fails(&breaker, 1);
        assert!(!may(&breaker, 1));
        tokio::time::advance(PAUSE).await;
        assert!(may(&breaker, 1));
    }
}
