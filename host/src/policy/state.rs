//! What the host keeps for one call of one policy. Fresh for every call, gone
//! after it.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;

use super::Limit;
use super::component::Settings;
use super::ending::Ending;
use super::window::Window;
use super::world::World;
use crate::session::Session;

/// Component-model handles that one call may hold.
pub const MAX_HANDLES: usize = 1000;

/// The store's data: what the imports of one call work on.
pub struct State {
    /// The policy that is being asked.
    pub settings: Arc<Settings>,
    /// What its calls to the host work on.
    pub world: Arc<dyn World>,
    /// What the call is about.
    pub subject: Subject,
    /// What the guest was given and holds: claims of tokens, holders of keys.
    pub resources: ResourceTable,
    /// Log lines that are left.
    pub log_lines: usize,
    /// Bytes of log lines that are left.
    pub log_bytes: usize,
    /// When the call began.
    pub started: Instant,
    /// Whether the guest was told that keys could not be had.
    pub keys_unavailable: bool,
    /// Until when the tokens that were verified are taken: the earliest counts.
    pub accepted_until: Option<u64>,
    memory: usize,
    table: usize,
}

/// What a call is about. A guest has a handle for what is there, and no other.
#[derive(Default)]
pub struct Subject {
    /// The connection; absent while a policy validates its configuration.
    pub session: Option<Arc<Session>>,
    /// What came lately, for `on-frames`.
    pub window: Option<Arc<Window>>,
    /// How the connection ended, for `on-close`.
    pub ending: Option<Arc<Ending>>,
}

impl State {
    /// The state of a call that begins now.
    #[must_use]
    pub fn new(settings: Arc<Settings>, world: Arc<dyn World>, subject: Subject) -> Self {
        let limits = &settings.limits;
        Self {
            log_lines: limits.max_log_lines,
            log_bytes: limits.max_log_bytes,
            world,
            subject,
            resources: ResourceTable::new(),
            started: Instant::now(),
            keys_unavailable: false,
            accepted_until: None,
            memory: 0,
            table: 0,
            settings,
        }
    }

    /// Bytes of linear memory so far.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.memory
    }
}

// Going past a limit traps at once, and the error says which limit it was. A
// guest that could go on after a failed `memory.grow` would mostly abort a
// moment later, in a way that looks like a bug of its own.
impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.memory += desired.saturating_sub(current);
        if self.memory > self.settings.limits.max_memory {
            return Err(wasmtime::Error::new(LimitReached(Limit::Memory)));
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.table += desired.saturating_sub(current);
        if self.table > self.settings.limits.max_table_elements {
            return Err(wasmtime::Error::new(LimitReached(Limit::Table)));
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.settings.limits.max_instances
    }
}

/// Carries the limit through a trap.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the policy exceeded its limit of {0}")]
pub struct LimitReached(pub Limit);
