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
    /// The key has more than `MAX_KEY_BYTES`.
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
mod tests;
