//! What the host keeps for one call of one policy. Fresh for every call, gone
//! after it.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;

use super::client::Excess;
use super::destinations::Answered;
use super::effects::Effects;
use super::own_secrets::OwnSecrets;
use super::references::References;
use super::world::{Seen, World};
use crate::question::Question;
use crate::settings::{Grant, PolicyLimits, Quarantine};
use crate::verdict::{Limit, OnFailure};
use session::registry::Session;

/// Component-model handles that one call may hold.
pub(crate) const MAX_HANDLES: usize = 1000;

/// How much longer a text can become by being escaped: JSON makes six bytes of a control character.
const MOST_ESCAPED: usize = 8;

/// The store's data: what the imports of one call work on.
pub struct State {
    /// The policy that is being asked.
    pub settings: Arc<Settings>,
    /// What its calls to the host work on.
    pub world: Arc<dyn World>,
    /// The connection, and what the policy is asked about it. `None` while the policy validates its
    /// configuration. A guest has a handle for what is there, and no other.
    pub asked: Option<(Arc<Session>, Question)>,
    /// What the guest was given and holds: claims of tokens, holders of keys.
    pub resources: ResourceTable,
    /// Log lines that are left.
    pub log_lines: usize,
    /// Bytes of log lines that are left.
    pub log_bytes: usize,
    /// Last error that the guest wrote to the log, for the report of a crash.
    pub last_error: Option<String>,
    /// The last line that it printed.
    pub last_printed: Option<String>,
    /// What it printed after that.
    pub printed: Vec<u8>,
    /// When the call began.
    pub started: Instant,
    /// Whether the guest was told that keys could not be had.
    pub keys_unavailable: bool,
    /// Until when the tokens that were verified are taken: the earliest counts.
    pub accepted_until: Option<u64>,
    /// Answers to what the policy wanted to be asked; `None` where it could not say.
    pub answers: Option<Arc<[Answered]>>,
    /// What the policy declares. There only while it validates its configuration.
    pub references: Option<References>,
    /// What the guest says beside its answer.
    pub effects: Effects,
    /// Tenant whose configuration the policy gets. While a policy validates it, somebody else says
    /// which.
    pub tenant: Option<String>,
    /// Bytes of the client's input that the guest has seen.
    seen: Cell<usize>,
    memory: usize,
    table: usize,
}

impl State {
    /// The state of a call that begins now.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        world: Arc<dyn World>,
        asked: Option<(Arc<Session>, Question)>,
    ) -> Self {
        let limits = &settings.limits;
        let given = asked.as_ref().map_or(0, |(_, question)| question.given());
        // Found out only where it matters, which is for few policies.
        let tenant = match &asked {
            Some((session, _)) if !settings.tenants.is_empty() => {
                let facts = &session.facts;
                // What a later policy says must not give the session another tenant meanwhile.
                facts.said_first(&settings.identified_by, "tenant_id")
            }
            _ => None,
        };
        Self {
            log_lines: limits.max_log_lines,
            log_bytes: limits.max_log_bytes,
            world,
            resources: ResourceTable::new(),
            last_error: None,
            last_printed: None,
            printed: Vec::new(),
            started: Instant::now(),
            keys_unavailable: false,
            accepted_until: None,
            answers: None,
            references: None,
            effects: Effects::default(),
            tenant,
            seen: Cell::new(given),
            asked,
            memory: 0,
            table: 0,
            settings,
        }
    }

    /// The guest sees so many bytes of the client's input.
    pub fn sees(&self, bytes: usize) {
        self.seen.set(self.seen.get().saturating_add(bytes));
    }

    /// Whether something of this size can have been made of what the guest saw of the client's
    /// input. What cannot is the guest's own.
    #[must_use]
    pub(crate) fn may_be_the_clients(&self, size: usize) -> bool {
        size <= self.seen.get().saturating_mul(MOST_ESCAPED)
    }

    /// The error that ends a call which handed over `size` bytes too many: the client's fault where
    /// these can be its own, or else `failure`.
    pub fn too_long(
        &self,
        size: usize,
        excess: Excess,
        failure: impl FnOnce() -> wasmtime::Error,
    ) -> wasmtime::Error {
        if self.may_be_the_clients(size) {
            wasmtime::Error::new(excess)
        } else {
            failure()
        }
    }

    /// The same for `count` things too many, each of which takes a byte of input at the least.
    pub fn too_many(
        &self,
        count: usize,
        excess: Excess,
        failure: impl FnOnce() -> wasmtime::Error,
    ) -> wasmtime::Error {
        self.too_long(count.saturating_mul(MOST_ESCAPED), excess, failure)
    }

    /// Value of an option, as JSON text.
    #[must_use]
    pub(crate) fn option(&self, key: &str) -> Option<&String> {
        let own = self.tenant.as_ref().and_then(|tenant| {
            let tenants = &self.settings.tenants;
            // The value depends on the tenant only where one of them has this option.
            if self.asked.is_some() && tenants.values().any(|own| own.contains_key(key)) {
                self.world.looked_at(Seen::Text(tenant));
            }
            tenants.get(tenant)?.get(key)
        });
        own.or_else(|| self.settings.config.get(key))
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
        let limit = self.settings.limits.max_memory;
        if self.memory > limit {
            return Err(wasmtime::Error::new(LimitReached(Limit::Memory(limit))));
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
        let limit = self.settings.limits.max_table_elements;
        if self.table > limit {
            return Err(wasmtime::Error::new(LimitReached(Limit::Table(limit))));
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

/// What a policy is configured to be and to have.
#[derive(PartialEq)]
pub struct Settings {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The name that its attributes have: its own, or that of the policy that
    /// it may replace.
    pub speaks_as: Arc<str>,
    /// What it may use beyond what every policy may.
    pub grants: Vec<Grant>,
    /// Destinations that it may ask.
    pub destinations: Vec<String>,
    /// What its failure means.
    pub on_failure: OnFailure,
    /// What it may use.
    pub limits: PolicyLimits,
    /// Its own section: JSON text by key.
    pub config: HashMap<String, String>,
    /// What some tenants have in its place, by tenant.
    pub tenants: HashMap<String, HashMap<String, String>>,
    /// The policies that know which tenant a connection has.
    pub identified_by: Arc<[String]>,
    /// Values of its section that are never shown.
    pub secrets: OwnSecrets,
    /// `sha256:` and the digest of its component.
    pub digest: Arc<str>,
    /// Who has signed it, if somebody must.
    pub signer: Option<Arc<str>>,
    /// When it is left alone.
    pub quarantine: Quarantine,
}
