//! What is known of the connection: whether it is up, and when a request last succeeded.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Event;
use base::metrics;
use session::registry::unix_ms;
use tokio::time::Instant;

/// Time without a success after which a connection that is up is made anew: its server may be cut
/// off from the others.
const USELESS: Duration = Duration::from_secs(2);

/// Interval of log lines that say why there is no connection.
const SAYING: Duration = Duration::from_secs(10);

/// State of the connection, for the operator, and to make it anew when it is of no use.
#[derive(Debug)]
pub(crate) struct Health(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Time of the first failure since the last success.
    failing: Option<Instant>,
    /// Whether the log says that the servers are away.
    is_away: bool,
    /// Time when the connection was made or lost, in milliseconds since 1970.
    since_ms: u64,
    /// Time when it last said why.
    said: Option<Instant>,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            failing: None,
            is_away: true,
            since_ms: unix_ms(),
            said: None,
        }))
    }

    /// Records a request that succeeded.
    pub(crate) fn succeeded(&self) {
        self.lock().failing = None;
    }

    /// Records a request that failed. Returns whether the connection must be made anew.
    pub(crate) fn failed(&self) -> bool {
        let mut state = self.lock();
        let since = *state.failing.get_or_insert_with(Instant::now);
        let is_useless = since.elapsed() >= USELESS;
        if is_useless {
            // The next connection has its time as well.
            state.failing = None;
        }
        is_useless
    }

    /// Time when the connection was made or lost, in milliseconds since 1970; at first, of the start.
    pub(crate) fn since_ms(&self) -> u64 {
        self.lock().since_ms
    }

    /// Records what the client of NATS reports.
    pub(crate) fn hears(&self, event: &Event) {
        match event {
            Event::Connected => {
                let mut state = self.lock();
                state.failing = None;
                state.is_away = false;
                state.since_ms = unix_ms();
                drop(state);
                metrics::cluster_connected(true);
                tracing::info!("connected to NATS");
            }
            Event::Disconnected => {
                let mut state = self.lock();
                let was_away = std::mem::replace(&mut state.is_away, true);
                if !was_away {
                    state.since_ms = unix_ms();
                }
                drop(state);
                metrics::cluster_connected(false);
                if !was_away {
                    tracing::warn!("the connection to NATS is lost; it is made anew");
                }
            }
            Event::ClientError(error) => {
                if self.says() {
                    tracing::warn!(%error, "there is no connection to NATS");
                }
            }
            event => tracing::warn!(%event, "NATS"),
        }
    }

    /// Whether a failed attempt to connect is logged, of which there are several in a second.
    fn says(&self) -> bool {
        let mut state = self.lock();
        let is_due = state.said.is_none_or(|said| said.elapsed() >= SAYING);
        if is_due {
            state.said = Some(Instant::now());
        }
        is_due
    }

    // Every change is one assignment, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_over_which_nothing_succeeds_is_made_anew_once_in_two_seconds() {
        let health = Health::new();
        assert!(!health.failed());
        tokio::time::advance(USELESS).await;
        health.succeeded();
        // A gateway without streams asks rarely, and its first failure says nothing.
        tokio::time::advance(USELESS).await;
        assert!(!health.failed());
        tokio::time::advance(USELESS).await;
        assert!(health.failed());
        assert!(!health.failed());
        tokio::time::advance(USELESS).await;
        assert!(health.failed());
    }
}
