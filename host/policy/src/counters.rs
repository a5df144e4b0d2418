//! Numbers that policies keep between their calls: bounded in number, each with
//! an end. A counter belongs to the policy of that name, whatever generation of
//! it is asked.
//!
//! A counter is charged to the address of the client that made the policy begin
//! it. When a policy has nearly all the counters that it may have, the last ones
//! are for addresses that have few, so that no client makes those of others fail.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use base::permits::{Share, Tally, fair_share, network};

/// Bytes of a counter's key.
const MAX_KEY_BYTES: usize = 256;

/// The counters of all policies.
#[derive(Debug, Default)]
pub struct Counters {
    policies: Mutex<HashMap<String, Keys>>,
}

/// Whose counter it is, and what it counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account<'a> {
    /// The policy.
    pub policy: &'a str,
    /// How many counters that policy may have.
    pub room: usize,
    /// The client that the policy is asked about; `None` where it is about nobody.
    pub client: Option<IpAddr>,
}

impl<'a> Account<'a> {
    /// One that no client is charged for.
    #[must_use]
    pub const fn of(policy: &'a str, room: usize) -> Self {
        Self {
            policy,
            room,
            client: None,
        }
    }
}

/// What is done to a counter, in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing; its value is the answer.
    None,
    /// Something is added; the new value is the answer.
    Add {
        /// How much; the sum stays within its type.
        amount: i64,
        /// How long a counter that begins with this lasts.
        life: Duration,
    },
    /// It is given another value; the one that it had is the answer.
    Replace {
        /// Which one.
        value: i64,
        /// How long it lasts from now.
        life: Duration,
    },
}

/// Why nothing was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    /// The policy has all the counters that it may have, or so many that the rest
    /// is not for this client.
    #[error("there is no room for another counter")]
    Full,
    /// See [`MAX_KEY_BYTES`].
    #[error("a counter's key is {MAX_KEY_BYTES} bytes at the most")]
    TooLarge,
}

#[derive(Debug, Default)]
struct Keys {
    by_name: HashMap<String, Counter>,
    /// How many each address has begun.
    sources: Tally<IpAddr>,
    /// No counter ends before that. So a policy that is full is not searched
    /// for one that has ended each time that it asks.
    first_end: Option<Instant>,
}

#[derive(Debug)]
struct Counter {
    value: i64,
    ends: Instant,
    /// What it takes of its address's share, where it has one.
    share: Option<Share<IpAddr>>,
}

impl Counters {
    /// Changes a counter.
    ///
    /// # Errors
    /// [`CounterError`]; nothing has changed then.
    pub fn change(
        &self,
        account: Account<'_>,
        key: &str,
        change: Change,
    ) -> Result<i64, CounterError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(CounterError::TooLarge);
        }
        // Nothing under this lock can panic half-way through a change, so
        // poisoning carries no news.
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = policies.get_mut(account.policy) else {
            let mut keys = Keys::default();
            let answer = keys.change(account, key, change, Instant::now());
            policies.insert(account.policy.to_owned(), keys);
            return answer;
        };
        keys.change(account, key, change, Instant::now())
    }
}

impl Keys {
    fn change(
        &mut self,
        account: Account<'_>,
        key: &str,
        change: Change,
        now: Instant,
    ) -> Result<i64, CounterError> {
        let live = self.by_name.get_mut(key).filter(|it| it.ends > now);
        let before = live.as_ref().map_or(0, |counter| counter.value);
        let (answer, value, life) = match change {
            Change::None => return Ok(before),
            Change::Add { amount, life } => {
                let sum = before.saturating_add(amount);
                if let Some(counter) = live {
                    counter.value = sum;
                    return Ok(sum);
                }
                (sum, sum, life)
            }
            Change::Replace { value, life } => (before, value, life),
        };
        let share = match self.by_name.remove(key) {
            Some(counter) if counter.ends > now => counter.share,
            // One that has ended is nobody's any more.
            Some(_) | None => self.make_room(account, now)?,
        };
        let ends = now + life;
        self.first_end = Some(self.first_end.map_or(ends, |first| first.min(ends)));
        let counter = Counter { value, ends, share };
        self.by_name.insert(key.to_owned(), counter);
        Ok(answer)
    }

    /// Room for one more, and the share of the address that takes it.
    fn make_room(
        &mut self,
        account: Account<'_>,
        now: Instant,
    ) -> Result<Option<Share<IpAddr>>, CounterError> {
        if let Ok(share) = self.room(account) {
            return Ok(share);
        }
        if self.first_end.is_none_or(|first| first > now) {
            return Err(CounterError::Full);
        }
        self.by_name.retain(|_, counter| counter.ends > now);
        self.first_end = self.by_name.values().map(|counter| counter.ends).min();
        self.room(account)
    }

    fn room(&self, account: Account<'_>) -> Result<Option<Share<IpAddr>>, CounterError> {
        let free = account.room.saturating_sub(self.by_name.len());
        if free == 0 {
            return Err(CounterError::Full);
        }
        let Some(client) = account.client else {
            return Ok(None);
        };
        let most = fair_share(account.room, free);
        let share = self.sources.take(network(client), most);
        share.map(Some).ok_or(CounterError::Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const SECOND: Duration = Duration::from_secs(1);

    fn add(amount: i64) -> Change {
        Change::Add {
            amount,
            life: SECOND,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_counter_begins_at_zero_adds_up_and_ends_when_it_was_to() {
        let counters = Counters::default();
        let change = |change| counters.change(Account::of("p", 10), "k", change).unwrap();
        assert_eq!(change(Change::None), 0);
        assert_eq!(change(add(2)), 2);
        advance(SECOND / 2).await;
        assert_eq!(change(add(-5)), -3);
        // Adding did not prolong it.
        advance(SECOND / 2).await;
        assert_eq!(change(Change::None), 0);
        assert_eq!(change(add(1)), 1);
        assert_eq!(change(add(i64::MAX)), i64::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replaced_counter_begins_its_life_anew_and_answers_what_it_was() {
        let counters = Counters::default();
        let change = |change| counters.change(Account::of("p", 10), "k", change).unwrap();
        change(add(7));
        advance(SECOND / 2).await;
        let replace = Change::Replace {
            value: 1,
            life: SECOND,
        };
        assert_eq!(change(replace), 7);
        advance(SECOND / 2).await;
        assert_eq!(change(Change::None), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_counters_is_bounded_and_what_has_ended_makes_room() {
        let counters = Counters::default();
        let change = |key: &str| counters.change(Account::of("p", 2), key, add(1));
        assert_eq!((change("a"), change("b")), (Ok(1), Ok(1)));
        assert_eq!(change("c"), Err(CounterError::Full));
        assert_eq!(change("b"), Ok(2));
        assert_eq!(
            counters.change(Account::of("p", 2), "c", Change::None),
            Ok(0)
        );
        assert_eq!(counters.change(Account::of("other", 2), "c", add(1)), Ok(1));
        advance(SECOND).await;
        assert_eq!((change("c"), change("d")), (Ok(1), Ok(1)));
        assert_eq!(change("e"), Err(CounterError::Full));
        assert_eq!(change(&"k".repeat(257)), Err(CounterError::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_cannot_make_the_counters_of_others_fail() {
        let counters = Counters::default();
        let change = |host: u8, key: &str, change| {
            let account = Account {
                policy: "p",
                room: 64,
                client: Some([192, 0, 2, host].into()),
            };
            counters.change(account, key, change)
        };
        let fill = |host: u8| {
            let mut keys = (0..64).map(|n| format!("{host}/{n}"));
            keys.find(|key| change(host, key, add(1)).is_err())
        };
        // An eighth of them is left for others.
        assert_eq!(fill(1).as_deref(), Some("1/57"));
        for host in 2..9 {
            assert_eq!(change(host, &format!("{host}"), add(1)), Ok(1), "{host}");
        }
        // Whoever has them may change them, and so may others.
        assert_eq!(change(1, "1/0", add(1)), Ok(2));
        let replace = Change::Replace {
            value: 7,
            life: SECOND,
        };
        assert_eq!(change(2, "1/0", replace), Ok(2));
        // It is charged to whoever began it, and what has ended to nobody.
        assert!(change(1, "1/57", add(1)).is_err());
        advance(SECOND).await;
        assert_eq!(fill(1).as_deref(), Some("1/57"));
        let account = Account::of("p", 64);
        assert_eq!(counters.change(account, "the policy's own", add(1)), Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_has_one_share_of_counters() {
        let counters = Counters::default();
        let mut begun = 0;
        for host in 0..64_u16 {
            let account = Account {
                policy: "p",
                room: 64,
                client: Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, host].into()),
            };
            let change = counters.change(account, &host.to_string(), add(1));
            begun += usize::from(change.is_ok());
        }
        assert_eq!(begun, 57);
    }
}
