//! Health of an address: a circuit breaker with the states closed, open and half-open.
//!
//! While an address rests, every client is refused, so a single client must never cause that. An
//! answer of the backend can depend on the client's request. So bad answers count once for each
//! client, until a stream succeeds. A connection that cannot be made depends on no request, so each
//! one counts.

use tokio::time::Instant;

use super::Rest;
use crate::status::BackendState;
use session::registry::Client;

/// State of the circuit breaker of an address.
pub(super) enum Health {
    /// Closed: the address is in use.
    Well(Failures),
    /// Open: the address is not tried until then.
    Rests { until: Instant },
    /// Half-open: the rest is over, and one stream at a time probes the address.
    Probed(HalfOpen),
}

/// Kind of failure of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Failed {
    /// The address could not be reached, or did not answer in time.
    Unreached,
    /// The address answered with an error or an invalid answer.
    Answer,
}

/// Consecutive failures.
#[derive(Default)]
pub(super) struct Failures {
    unreached: usize,
    /// Clients that had a bad answer.
    answered: Vec<Client>,
}

/// Probes of an address after its rest.
pub(super) struct HalfOpen {
    /// Whether a probe is running. No other one starts meanwhile.
    under_way: bool,
    /// Clients whose probes had a bad answer, and the time when each may probe again.
    answered: Vec<(Client, Instant)>,
}

/// Whether an attempt probes an address after its rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    Yes,
    No,
}

/// State of an address after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Now {
    /// The address may be tried again.
    InUse,
    /// The rest of the address begins.
    Rests,
}

impl Health {
    pub(super) fn well() -> Self {
        Self::Well(Failures::default())
    }

    pub(super) const fn state(&self) -> BackendState {
        match self {
            Self::Well(_) => BackendState::InUse,
            Self::Rests { .. } => BackendState::Rests,
            Self::Probed(_) => BackendState::Probed,
        }
    }

    /// Whether the address gets no streams now.
    pub(super) fn rests(&self) -> bool {
        matches!(self, Self::Rests { until } if Instant::now() < *until)
    }

    /// Whether a stream of this client may try the address now.
    pub(super) fn enter(&mut self, client: Client) -> Option<Probe> {
        match self {
            Self::Well(_) => Some(Probe::No),
            Self::Rests { until } if Instant::now() >= *until => {
                *self = Self::Probed(HalfOpen {
                    under_way: true,
                    answered: Vec::new(),
                });
                Some(Probe::Yes)
            }
            Self::Probed(probes) if !probes.under_way && probes.may_be_for(client) => {
                probes.under_way = true;
                Some(Probe::Yes)
            }
            Self::Rests { .. } | Self::Probed(_) => None,
        }
    }

    /// Records a failed attempt.
    pub(super) fn failed(
        &mut self,
        probe: Probe,
        client: Client,
        how: Failed,
        Rest { after, lasts }: Rest,
    ) -> Now {
        let count = match self {
            Self::Well(failures) => failures.count(client, how),
            Self::Probed(probes) if probe == Probe::Yes => {
                probes.under_way = false;
                match how {
                    Failed::Unreached => after,
                    Failed::Answer => probes.count(client, Instant::now() + lasts),
                }
            }
            // The attempt began before the rest.
            Self::Probed(_) | Self::Rests { .. } => return Now::InUse,
        };
        if after == 0 {
            *self = Self::well();
        } else if count >= after {
            let until = Instant::now() + lasts;
            *self = Self::Rests { until };
            return Now::Rests;
        }
        Now::InUse
    }

    /// Allows another probe after one was abandoned.
    pub(super) fn abandoned(&mut self) {
        if let Self::Probed(probes) = self {
            probes.under_way = false;
        }
    }
}

impl Failures {
    /// Number of failures, including this one.
    fn count(&mut self, client: Client, how: Failed) -> usize {
        match how {
            Failed::Unreached => self.unreached += 1,
            Failed::Answer if self.answered.contains(&client) => {}
            Failed::Answer => self.answered.push(client),
        }
        self.unreached + self.answered.len()
    }
}

impl HalfOpen {
    fn may_be_for(&self, client: Client) -> bool {
        let now = Instant::now();
        let mut answered = self.answered.iter();
        answered.all(|(other, until)| *other != client || now >= *until)
    }

    /// Number of clients with a bad answer, including this one.
    fn count(&mut self, client: Client, until: Instant) -> usize {
        self.answered.retain(|(other, _)| *other != client);
        self.answered.push((client, until));
        self.answered.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const REST: Rest = Rest {
        after: 5,
        lasts: Duration::from_secs(5),
    };

    /// Fails for the client with this number, if it may try the address.
    fn fail(health: &mut Health, client: u8, how: Failed) -> Option<Now> {
        let client = Client::numbered(client);
        let probe = health.enter(client)?;
        Some(health.failed(probe, client, how, REST))
    }

    fn rests() -> Health {
        let mut health = Health::well();
        for client in 1..5 {
            assert_eq!(fail(&mut health, client, Failed::Answer), Some(Now::InUse));
        }
        assert_eq!(fail(&mut health, 5, Failed::Answer), Some(Now::Rests));
        assert_eq!(fail(&mut health, 6, Failed::Answer), None);
        health
    }

    #[tokio::test(start_paused = true)]
    async fn bad_answers_to_one_client_never_put_an_address_to_rest_and_those_to_several_do() {
        let mut health = Health::well();
        for _ in 0..20 {
            assert_eq!(fail(&mut health, 1, Failed::Answer), Some(Now::InUse));
        }
        // The failures of one client counted once.
        for client in 2..5 {
            assert_eq!(fail(&mut health, client, Failed::Answer), Some(Now::InUse));
        }
        assert_eq!(fail(&mut health, 5, Failed::Answer), Some(Now::Rests));
        rests();
    }

    #[tokio::test(start_paused = true)]
    async fn each_connection_that_cannot_be_made_counts_whoever_wanted_it() {
        let mut health = Health::well();
        fail(&mut health, 1, Failed::Answer);
        for _ in 0..3 {
            assert_eq!(fail(&mut health, 1, Failed::Unreached), Some(Now::InUse));
        }
        assert_eq!(fail(&mut health, 1, Failed::Unreached), Some(Now::Rests));
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_cannot_keep_an_address_at_rest_by_being_the_one_that_probes() {
        let mut health = rests();
        tokio::time::advance(REST.lasts).await;
        assert_eq!(fail(&mut health, 1, Failed::Answer), Some(Now::InUse));
        for _ in 0..20 {
            assert_eq!(fail(&mut health, 1, Failed::Answer), None);
        }
        // Another one may, and only one at a time.
        let probe = health.enter(Client::numbered(2));
        assert_eq!(probe, Some(Probe::Yes));
        assert_eq!(health.enter(Client::numbered(3)), None);
        health.abandoned();
        // The same client may probe again after a while if no other does, and counts once.
        for _ in 0..10 {
            tokio::time::advance(REST.lasts).await;
            assert_eq!(fail(&mut health, 1, Failed::Answer), Some(Now::InUse));
        }
        for client in 2..5 {
            assert_eq!(fail(&mut health, client, Failed::Answer), Some(Now::InUse));
        }
        assert_eq!(fail(&mut health, 5, Failed::Answer), Some(Now::Rests));
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_that_cannot_connect_is_enough() {
        let mut health = rests();
        tokio::time::advance(REST.lasts).await;
        assert_eq!(fail(&mut health, 1, Failed::Unreached), Some(Now::Rests));
    }
}
