//! Taking back what a call counted.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use crate::amendment::Amendment;
use crate::bindings::sluice::policy::log::Level;
use crate::counters::{Account, Change, CounterError};
use crate::destinations::{Answered, Asking, Misuse};
use crate::world::{Seen, World};
use base::rejection::Rejection;
use keys::{Claims, TokenError};
use session::registry::{ClaimError, Session};

/// Maximum number of changes of one call that can be taken back.
const MAX_CHANGES: usize = 1024;

/// Changes of counters by one call, which may have to be undone.
#[derive(Default)]
pub(super) struct Counted(Mutex<Vec<Counting>>);

/// A change that was made.
struct Counting {
    world: Arc<dyn World>,
    policy: String,
    room: usize,
    client: Option<IpAddr>,
    key: String,
    change: Change,
    answer: i64,
}

impl Counted {
    /// `world`, whose changes of counters can be taken back.
    pub(super) fn of(self: &Arc<Self>, world: &Arc<dyn World>) -> Arc<dyn World> {
        Arc::new(Undoable {
            world: Arc::clone(world),
            counted: Arc::clone(self),
        })
    }

    /// Takes the changes back, the latest first. Changes by others stay.
    pub(super) fn take_back(&self) {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = std::mem::take(&mut *changes);
        for change in changes.into_iter().rev() {
            change.take_back();
        }
    }
}

impl Counting {
    fn take_back(&self) {
        let back = match self.change {
            Change::None => return,
            // A counter that has ended meanwhile does not begin again.
            Change::Add { amount, .. } => Change::Add {
                amount: amount.saturating_neg(),
                life: Duration::ZERO,
            },
            Change::Replace { value, life } => {
                if self.count(Change::None) != Ok(value) {
                    return;
                }
                Change::Replace {
                    value: self.answer,
                    life,
                }
            }
        };
        // The counter is there, so that it needs no room.
        let _ = self.count(back);
    }

    fn count(&self, change: Change) -> Result<i64, CounterError> {
        let account = Account {
            policy: &self.policy,
            room: self.room,
            client: self.client,
        };
        self.world.count(account, &self.key, change)
    }
}

struct Undoable {
    world: Arc<dyn World>,
    counted: Arc<Counted>,
}

impl World for Undoable {
    fn now_ms(&self) -> u64 {
        self.world.now_ms()
    }

    fn monotonic_ns(&self, began: Instant) -> u64 {
        self.world.monotonic_ns(began)
    }

    fn verify(&self, session: &Session, key_set: &str) -> Option<Result<Claims, TokenError>> {
        self.world.verify(session, key_set)
    }

    fn claim(&self, session: &Arc<Session>, key: &str) -> Result<(), ClaimError> {
        self.world.claim(session, key)
    }

    fn evict(
        &self,
        session: &Arc<Session>,
        key: &str,
        holder: &str,
        notice: Rejection,
    ) -> Result<(), ClaimError> {
        self.world.evict(session, key, holder, notice)
    }

    fn count(&self, account: Account<'_>, key: &str, change: Change) -> Result<i64, CounterError> {
        let answer = self.world.count(account, key, change)?;
        if change != Change::None {
            let changes = self.counted.0.lock();
            let mut changes = changes.unwrap_or_else(PoisonError::into_inner);
            if changes.len() < MAX_CHANGES {
                changes.push(Counting {
                    world: Arc::clone(&self.world),
                    policy: account.policy.to_owned(),
                    room: account.room,
                    client: account.client,
                    key: key.to_owned(),
                    change,
                    answer,
                });
            }
        }
        Ok(answer)
    }

    fn list_contains(&self, list: &str, entry: &str) -> Option<bool> {
        self.world.list_contains(list, entry)
    }

    fn list_get(&self, list: &str, key: &str) -> Option<Option<String>> {
        self.world.list_get(list, key)
    }

    fn ask<'a>(&'a self, asking: Asking<'a>) -> BoxFuture<'a, Result<Vec<Answered>, Misuse>> {
        self.world.ask(asking)
    }

    fn log(&self, policy: &str, level: Level, line: &str) {
        self.world.log(policy, level, line);
    }

    fn amends(&self, policy: &str, amendment: &Amendment) {
        self.world.amends(policy, amendment);
    }

    fn looked_at(&self, seen: Seen<'_>) {
        self.world.looked_at(seen);
    }
}
