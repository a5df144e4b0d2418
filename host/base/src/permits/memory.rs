//! Accounting of the memory that connections make the gateway hold.
//!
//! That memory is requests, unfinished messages, queues to either side, replay buffers for backends
//! that are away, and messages for clients that are away. Each of these has a limit of its own, but
//! together they could be more than the machine has. So all of it is charged to the client's
//! address, user and tenant, and there is one limit for all connections. When nearly all of it is
//! in use, the rest is reserved for holders that have little. A connection that would exceed either
//! limit is ended, and gives back what it had.
//!
//! Memory is charged in steps, each time that a connection has been polled. A connection that only
//! passes messages on is never charged, and nothing is counted for each message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ShareHolder, fair_share};
use crate::metrics;

/// Bytes of one step of the accounting. What a connection holds below one step is not counted.
const STEP: usize = 16 * 1024;

/// Ledger of the memory of all connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Memory {
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Debug)]
struct Ledger {
    /// Steps that all connections together may hold.
    total: usize,
    /// Steps that are in use.
    all: usize,
    /// Steps of each holder that has any.
    holders: HashMap<ShareHolder, usize>,
}

/// Reason why a connection may not hold more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoMemory {
    /// All connections together hold too much.
    #[error("all connections together hold as much memory as they may (`max_memory`)")]
    Full,
    /// The connections of its address, user or tenant hold too much.
    #[error("its address, user or tenant holds its share of `max_memory`")]
    Share,
}

impl NoMemory {
    /// Label in the metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Share => "share",
        }
    }
}

/// Memory charged for one connection or stream, until this is dropped. The default has no holder
/// and no limit.
#[derive(Debug, Default)]
pub struct Charge {
    memory: Memory,
    holders: Vec<ShareHolder>,
    steps: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Memory {
    /// Ledger with a limit of this many bytes for all connections together. Each connection has one
    /// step more, which is not charged.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let ledger = Ledger {
            total: bytes / STEP,
            all: 0,
            holders: HashMap::new(),
        };
        Self {
            ledger: Arc::new(Mutex::new(ledger)),
        }
    }

    /// Charge for this holder, which begins at 0.
    #[must_use]
    pub fn charge(&self, holder: ShareHolder) -> Charge {
        Charge {
            memory: self.clone(),
            holders: vec![holder],
            steps: 0,
        }
    }

    /// Bytes that all connections together may hold.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.lock().total.saturating_mul(STEP)
    }

    /// Bytes in use.
    #[must_use]
    pub fn held(&self) -> usize {
        self.lock().all * STEP
    }

    // Each change leaves it whole, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn grow(&mut self, holders: &[ShareHolder], steps: usize) -> Result<(), NoMemory> {
        let free = self.total.saturating_sub(self.all);
        if steps > free {
            return Err(NoMemory::Full);
        }
        let most = fair_share(self.total, free - steps);
        let has = |holder| self.holders.get(holder).copied().unwrap_or_default();
        if holders.iter().any(|holder| has(holder) + steps > most) {
            return Err(NoMemory::Share);
        }
        self.all += steps;
        for holder in holders {
            self.add(holder, steps);
        }
        Ok(())
    }

    fn add(&mut self, holder: &ShareHolder, steps: usize) {
        if steps > 0 {
            *self.holders.entry(holder.clone()).or_default() += steps;
        }
    }

    fn shrink(&mut self, holders: &[ShareHolder], steps: usize) {
        self.all -= steps;
        for holder in holders {
            if let Some(has) = self.holders.get_mut(holder) {
                *has -= steps;
                if *has == 0 {
                    self.holders.remove(holder);
                }
            }
        }
    }
}

impl Charge {
    /// A charge that begins at 0, for the same holders.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            memory: self.memory.clone(),
            holders: self.holders.clone(),
            steps: 0,
        }
    }

    /// Adds a holder, and charges it for what is held now.
    pub fn also(&mut self, holder: ShareHolder) {
        self.memory.lock().add(&holder, self.steps);
        self.holders.push(holder);
    }

    /// Sets the number of bytes that are held now.
    ///
    /// # Errors
    /// [`NoMemory`] if this is an increase and exceeds a limit. The earlier charge stays.
    pub fn hold(&mut self, bytes: usize) -> Result<(), NoMemory> {
        let steps = bytes / STEP;
        if steps == self.steps {
            return Ok(());
        }
        let mut ledger = self.memory.lock();
        if let Some(less) = self.steps.checked_sub(steps) {
            ledger.shrink(&self.holders, less);
        } else if let Err(refused) = ledger.grow(&self.holders, steps - self.steps) {
            drop(ledger);
            metrics::memory_refused(refused.word());
            return Err(refused);
        }
        drop(ledger);
        self.steps = steps;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.steps > 0 {
            let mut ledger = self.memory.lock();
            ledger.shrink(&self.holders, self.steps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: u8) -> ShareHolder {
        ShareHolder::Address([192, 0, 2, host].into())
    }

    fn user(name: &str) -> ShareHolder {
        ShareHolder::User([("auth.user_id".to_owned(), name.to_owned())].into())
    }

    /// Lets new connections of these holders hold a step each, as many as they may.
    fn fill(memory: &Memory, holders: &[ShareHolder]) -> (Vec<Charge>, NoMemory) {
        let mut charges = Vec::new();
        loop {
            let mut charge = memory.charge(holders[0].clone());
            holders[1..].iter().cloned().for_each(|it| charge.also(it));
            match charge.hold(STEP) {
                Ok(()) => charges.push(charge),
                Err(refused) => return (charges, refused),
            }
        }
    }

    #[test]
    fn one_holder_leaves_memory_to_others_and_all_have_one_bound() {
        let memory = Memory::new(64 * STEP);
        let (greedy, refused) = fill(&memory, &[address(1)]);
        assert_eq!((greedy.len(), refused), (56, NoMemory::Share));
        let (modest, refused) = fill(&memory, &[address(2)]);
        assert_eq!((modest.len(), refused), (8, NoMemory::Full));
        drop(greedy);
        assert_eq!(memory.held(), 8 * STEP);
        drop(modest);
        assert!(memory.lock().holders.is_empty());
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn a_user_is_one_holder_whatever_the_address() {
        let memory = Memory::new(64 * STEP);
        let (held, _) = fill(&memory, &[address(1), user("u-1")]);
        assert_eq!(held.len(), 56);
        let (none, refused) = fill(&memory, &[address(2), user("u-1")]);
        assert_eq!((none.len(), refused), (0, NoMemory::Share));
        let (others, _) = fill(&memory, &[address(2), user("u-2")]);
        assert_eq!(others.len(), 8);
    }

    #[test]
    fn whoever_is_refused_keeps_what_it_has_and_may_shrink() {
        let memory = Memory::new(64 * STEP);
        let mut charge = memory.charge(address(1));
        charge.hold(40 * STEP + 1).expect("there is room");
        assert_eq!(charge.hold(57 * STEP), Err(NoMemory::Share));
        assert_eq!(charge.hold(usize::MAX), Err(NoMemory::Full));
        assert_eq!(memory.held(), 40 * STEP);
        charge.also(user("u-1"));
        charge.hold(3 * STEP).expect("it is less");
        assert_eq!(memory.lock().holders[&user("u-1")], 3);
        charge.hold(STEP - 1).expect("it is less");
        assert!(memory.lock().holders.is_empty());
    }
}
