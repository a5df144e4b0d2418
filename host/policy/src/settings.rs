//! What the platform team says about a policy: `[policies.NAME]`, `[lists.NAME]` and `[decisions]`.

use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::compile;
use super::fetch::reference::Reference;
use super::signature::Signatures;
use super::verdict::OnFailure;
use base::diagnostics::Place;
use own_section::nearest;

mod own_section;

pub use own_section::{ConfigSecret, Overlay, Tenants};

/// `[policies.NAME]`
#[derive(Clone)]
pub struct Policy {
    /// `builtin:auth`, a path to a `.wasm` file, or an address in a registry.
    pub component: Component,
    /// The one component that it may be.
    pub sha256: Option<Pin>,
    /// Who must have signed it: one of them.
    pub signatures: Signatures,
    /// How it is tried out, where it is not simply in use.
    pub trial: Option<Trial>,
    /// The interfaces beyond `connection`, `config`, `log` and `clock` that it
    /// may import, and `credentials`.
    pub grants: Vec<Grant>,
    /// Destinations that it may ask.
    pub destinations: Vec<String>,
    /// What it may import of WASI.
    pub wasi: Wasi,
    /// What a failure of the policy means for the connection.
    pub on_failure: OnFailure,
    /// When it is left alone because it keeps failing.
    pub quarantine: Quarantine,
    /// What it may use.
    pub limits: PolicyLimits,
    /// `[policies.NAME.config]`: the policy's own section, given as JSON.
    pub config: BTreeMap<String, serde_json::Value>,
    /// `config_files` and `config_env`: values of that section that are never shown, by key.
    pub secrets: BTreeMap<String, ConfigSecret>,
    /// `[policies.NAME.tenants.TENANT]`
    pub tenants: Tenants,
    /// Where it stands in the file.
    pub place: Place,
    /// Where `component` stands in the file.
    pub component_place: Place,
    /// Where `grants` stands in the file (the policy's header without it).
    pub grants_place: Place,
    /// Where `destinations` stands in the file (the policy's header without it).
    pub destinations_place: Place,
    /// Where `config` stands in the file (the policy's header without it).
    pub config_place: Place,
    /// Where the keys in `config` stand.
    pub config_places: BTreeMap<String, Place>,
    /// Where the values in `config` stand, those in lists and tables included, by JSON pointer.
    /// A table stands where its key does.
    pub value_places: BTreeMap<String, Place>,
}

impl Policy {
    /// The name that the attributes of the policy `name` have: its own, or that
    /// of the policy that it may replace.
    #[must_use]
    pub fn speaks_as<'a>(&'a self, name: &'a str) -> &'a str {
        let trial = self.trial.as_ref();
        let stands_for = trial.and_then(|trial| trial.stands_for.as_deref());
        stands_for.unwrap_or(name)
    }

    /// Where the value at a JSON pointer into `config` stands. A policy chooses the pointer: where
    /// it leads nowhere, as much of it counts as leads somewhere.
    #[must_use]
    pub fn place_of(&self, pointer: &str) -> &Place {
        nearest(&self.value_places, pointer).unwrap_or(&self.config_place)
    }

    /// The same in the section as a tenant has it; for all tenants without one.
    #[must_use]
    pub fn place_for(&self, tenant: Option<&str>, pointer: &str) -> &Place {
        let overlay = tenant.and_then(|tenant| self.tenants.overlays.get(tenant));
        let place = overlay.and_then(|overlay| nearest(&overlay.value_places, pointer));
        place.unwrap_or_else(|| self.place_of(pointer))
    }
}

/// Without the values of `config`, which may hold secrets.
impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("component", &self.component)
            .field("grants", &self.grants)
            .field("on_failure", &self.on_failure)
            .field("config", &self.config.keys())
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// `shadow`, `shadow_of` and `canary`: a policy that is tried out.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The policy that it is to replace, and is asked beside.
    pub stands_for: Option<String>,
    /// The sessions that it decides about.
    pub decides_for: Share,
    /// Where that stands in the file.
    pub place: Place,
}

/// `sha256`: the digest of a component.
#[derive(Debug, Clone)]
pub struct Pin {
    /// In hexadecimal, lower case.
    pub digest: String,
    /// Where it stands in the file.
    pub place: Place,
}

/// Where a policy's code comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// Embedded in the binary: `auth`, `duplicate` or `sample-rate`.
    Builtin(String),
    /// A file, relative to the configuration file.
    File(PathBuf),
    /// In a registry.
    Oci(Reference),
}

/// Something that a policy may have beyond what every policy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// `sluice:policy/jwt`
    Jwt,
    /// `sluice:policy/sessions`
    Sessions,
    /// `sluice:policy/counters`
    Counters,
    /// `sluice:policy/payload`
    Payload,
    /// `sluice:policy/lists`
    Lists,
    /// `sluice:policy/destinations`
    Destinations,
    /// `sluice:policy/notice`
    Notice,
    /// `sluice:policy/metrics`
    Metrics,
    /// The headers and query parameters that carry credentials.
    Credentials,
}

impl Grant {
    /// The word for it in `grants`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Sessions => "sessions",
            Self::Counters => "counters",
            Self::Payload => "payload",
            Self::Lists => "lists",
            Self::Destinations => "destinations",
            Self::Notice => "notice",
            Self::Metrics => "metrics",
            Self::Credentials => "credentials",
        }
    }
}

/// `wasi`: what a policy may import of WASI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wasi {
    /// Nothing.
    None,
    /// Most of it, with nothing behind it.
    Stub,
}

/// Whether what a policy leaves says who a client is: it is granted `jwt`, and
/// so is whatever is tried out in its place and speaks in its name. No other
/// policy can know.
#[must_use]
pub fn identifies(policies: &BTreeMap<String, Policy>, name: &str) -> bool {
    let stands_for_it = |policy: &Policy| {
        let trial = policy.trial.as_ref();
        trial.and_then(|trial| trial.stands_for.as_deref()) == Some(name)
    };
    let verifies = |policy: &Policy| policy.grants.contains(&Grant::Jwt);
    policies.get(name).is_some_and(verifies)
        && policies
            .values()
            .filter(|policy| stands_for_it(policy))
            .all(verifies)
}

/// What one policy may use of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLimits {
    /// Wall clock of one call, host calls included.
    pub timeout: Duration,
    /// How long a call may wait in the queue.
    pub queue_timeout: Duration,
    /// Calls that may be under way at once.
    pub max_calls: usize,
    /// Calls that may wait in the queue; more fail at once.
    pub max_queue: usize,
    /// Bytes of linear memory of one call, all memories together.
    pub max_memory: usize,
    /// Table elements of one call, all tables together.
    pub max_table_elements: usize,
    /// Core instances of one call: a component may be made of several modules.
    pub max_instances: usize,
    /// Bytes that one call may make the host copy out of the guest.
    pub hostcall_fuel: usize,
    /// Lines that one call may write to the log; more are dropped.
    pub max_log_lines: usize,
    /// Bytes of these lines together; what is beyond is cut.
    pub max_log_bytes: usize,
    /// Bytes of a rejection's sentence; what is beyond is cut.
    pub max_message: usize,
    /// Bytes of an attribute, its name included.
    pub max_attribute: usize,
    /// Counters that it may have at once.
    pub max_counters: usize,
    /// What compiling its component may take.
    pub compile: compile::Limits,
}

impl Default for PolicyLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(50),
            queue_timeout: Duration::from_secs(1),
            max_calls: 64,
            max_queue: 1024,
            max_memory: 16 << 20,
            max_table_elements: 64 * 1024,
            max_instances: 48,
            hostcall_fuel: 256 << 10,
            max_log_lines: 16,
            max_log_bytes: 8 << 10,
            max_message: 1 << 10,
            max_attribute: 1 << 10,
            max_counters: 10_000,
            compile: compile::Limits {
                memory: 2 << 30,
                time: Duration::from_secs(120),
            },
        }
    }
}

/// `[lists.NAME]`
#[derive(Debug, Clone)]
pub struct List {
    /// File with its entries.
    pub file: PathBuf,
    /// Format of that file.
    pub format: ListFormat,
    /// Place of the section.
    pub place: Place,
}

/// Format of the file of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// One entry on each line.
    Lines,
    /// A list of texts, or an object.
    Json,
}

/// `[decisions]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decisions {
    /// Where they are recorded, relative to the data folder; nowhere without it.
    pub file: Option<PathBuf>,
    /// Bytes of one file.
    pub max_size: u64,
    /// Files that are kept, with the one that is written to.
    pub max_files: usize,
}

/// When a policy that fails is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarantine {
    /// Different clients in a row whose calls fail.
    pub after: usize,
    /// How long; zero is never.
    pub lasts: Duration,
}

/// The percentage of sessions that a candidate decides about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share(u8);

impl Share {
    /// So many of a hundred; all, where that is more.
    #[must_use]
    pub fn percent(percent: usize) -> Self {
        Self(u8::try_from(percent.min(100)).unwrap_or(100))
    }

    /// Always the same for the same session, on every gateway.
    #[must_use]
    pub fn contains(self, session_id: &str) -> bool {
        let digest = Sha256::digest(session_id);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(bytes) % 100 < u64::from(self.0)
    }
}
