//! Numbers that policies keep between their calls: bounded in number, each with
//! an end. A counter belongs to the policy of that name, whatever generation of
//! it is asked.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Bytes of a counter's key.
const MAX_KEY_BYTES: usize = 256;

/// The counters of all policies.
#[derive(Debug, Default)]
pub struct Counters {
    policies: Mutex<HashMap<String, Keys>>,
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
    /// The policy has all the counters that it may have.
    #[error("there is no room for another counter")]
    Full,
    /// See [`MAX_KEY_BYTES`].
    #[error("a counter's key is {MAX_KEY_BYTES} bytes at the most")]
    TooLarge,
}

#[derive(Debug, Default)]
struct Keys {
    by_name: HashMap<String, Counter>,
    /// No counter ends before that. So a policy that is full is not searched
    /// for one that has ended each time that it asks.
    first_end: Option<Instant>,
}

#[derive(Debug)]
struct Counter {
    value: i64,
    ends: Instant,
}

impl Counters {
    /// Changes a counter of a policy that may have `room` of them.
    ///
    /// # Errors
    /// [`CounterError`]; nothing has changed then.
    pub fn change(
        &self,
        policy: &str,
        room: usize,
        key: &str,
        change: Change,
    ) -> Result<i64, CounterError> {
        if key.len() > MAX_KEY_BYTES {
            return Err(CounterError::TooLarge);
        }
        // Nothing under this lock can panic half-way through a change, so
        // poisoning carries no news.
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = policies.get_mut(policy) else {
            let mut keys = Keys::default();
            let answer = keys.change(room, key, change, Instant::now());
            policies.insert(policy.to_owned(), keys);
            return answer;
        };
        keys.change(room, key, change, Instant::now())
    }
}

impl Keys {
    fn change(
        &mut self,
        room: usize,
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
        if !self.by_name.contains_key(key) {
            self.make_room(room, now)?;
        }
        let ends = now + life;
        self.first_end = Some(self.first_end.map_or(ends, |first| first.min(ends)));
        self.by_name.insert(key.to_owned(), Counter { value, ends });
        Ok(answer)
    }

    fn make_room(&mut self, room: usize, now: Instant) -> Result<(), CounterError> {
        if self.by_name.len() < room {
            return Ok(());
        }
        if self.first_end.is_none_or(|first| first > now) {
            return Err(CounterError::Full);
        }
        self.by_name.retain(|_, counter| counter.ends > now);
        self.first_end = self.by_name.values().map(|counter| counter.ends).min();
        if self.by_name.len() < room {
            Ok(())
        } else {
            Err(CounterError::Full)
        }
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
        let change = |change| counters.change("p", 10, "k", change).unwrap();
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
        let change = |change| counters.change("p", 10, "k", change).unwrap();
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
        let change = |key: &str| counters.change("p", 2, key, add(1));
        assert_eq!((change("a"), change("b")), (Ok(1), Ok(1)));
        assert_eq!(change("c"), Err(CounterError::Full));
        assert_eq!(change("b"), Ok(2));
        assert_eq!(counters.change("p", 2, "c", Change::None), Ok(0));
        assert_eq!(counters.change("other", 2, "c", add(1)), Ok(1));
        advance(SECOND).await;
        assert_eq!((change("c"), change("d")), (Ok(1), Ok(1)));
        assert_eq!(change("e"), Err(CounterError::Full));
        assert_eq!(change(&"k".repeat(257)), Err(CounterError::TooLarge));
    }
}
