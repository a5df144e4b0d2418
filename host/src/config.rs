//! The gateway's configuration, in its final types.
//!
//! One TOML file says everything. [`Config::load`] reads it, and reports every
//! mistake together. What a policy or an upstream makes of its own part is
//! found out when they are built.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub mod credentials;
pub mod diagnostics;
pub mod limits;
mod mask;
mod read;
pub mod reference;
pub mod secret;
pub mod units;

pub use credentials::Credentials;
pub use diagnostics::{Diagnostic, Diagnostics, Look, Place, Warnings};
pub use limits::{Limits, Metering, PolicyLimits, TokenExpiry};
pub(crate) use read::names::FACTS;
pub use reference::Reference;
pub use secret::Secret;

use crate::files::text::{self, TextError};
use crate::files::{self, Content};
use crate::lanes::Shares;
use crate::origin::Origins;
use crate::policy::breaker::Quarantine;
use crate::policy::shadow::Share;
use crate::proxies::Proxies;
use crate::rate_limit::Allowance;
use crate::upstream::space::Watermark;
use crate::upstream::wav::Recordings;
use crate::upstream::websocket::WebSocket;

/// The policies that are embedded in the binary.
pub const BUILTINS: [&str; 3] = ["auth", "duplicate", "sample-rate"];

/// What is served without a configuration file.
const DEFAULT: &str = include_str!("../sluice.default.toml");

/// Everything that the gateway is told.
///
/// Every name in it resolves, even if there were mistakes: what could not be
/// made is left out, together with every reference to it.
#[derive(Debug)]
pub struct Config {
    /// Where recordings and generated keys live.
    pub data_dir: PathBuf,
    /// Who the gateway is to registries of components.
    pub credentials: Credentials,
    /// Hosts beside a registry's own that may be asked for a token with them.
    pub realms: Vec<String>,
    /// The main listener.
    pub server: Server,
    /// The record of decisions.
    pub decisions: Decisions,
    /// The keys that tokens are verified against.
    pub key_sets: BTreeMap<String, KeySet>,
    /// The policies that routes may name.
    pub policies: BTreeMap<String, Policy>,
    /// The destinations that routes may name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// What is served, by name.
    pub routes: BTreeMap<String, Route>,
    /// Every file that it was made from, those included that are not there:
    /// when one of them changes, the configuration may have. With what was in
    /// it, where it was read already.
    pub files: BTreeMap<PathBuf, Option<Content>>,
}

impl Config {
    /// Reads a configuration file; the built-in configuration without one,
    /// whose paths are relative to the current directory.
    ///
    /// The configuration comes with the mistakes that were found, so that
    /// later stages can add theirs to the same report. It must not be served
    /// unless [`Diagnostics::finish`] says so.
    ///
    /// # Errors
    /// The report, when there is nothing to go on with: the file cannot be
    /// read, or it is not TOML.
    pub fn load(file: Option<&Path>) -> Result<(Self, Diagnostics), Diagnostics> {
        let Some(file) = file else {
            return Self::parse("the built-in configuration", DEFAULT, Path::new(""));
        };
        let name = file.display().to_string();
        let (bytes, content) = files::read(file);
        let text = bytes.map_err(TextError::from).and_then(|bytes| {
            let text = text::decode(bytes);
            text.map_err(TextError::from)
        });
        let text = text.map_err(|error| {
            let help = match &error {
                TextError::Encoding(_) => "a configuration is TOML, which is UTF-8",
                TextError::Io(_) => {
                    "correct the path after --config, or leave it out for the built-in configuration"
                }
            };
            let message = format!("the configuration file {name} cannot be read: {error}");
            let mut diagnostics = Diagnostics::default();
            diagnostics.error(&Place::nowhere(), message, help);
            diagnostics
        })?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let (mut config, diagnostics) = Self::parse(&name, &text, folder)?;
        config.files.insert(file.to_owned(), Some(content));
        Ok((config, diagnostics))
    }

    /// [`Config::load`], of text. `name` is what reports call it, and `folder`
    /// what its paths are relative to.
    ///
    /// # Errors
    /// The report, when the text is not TOML.
    pub fn parse(
        name: &str,
        text: &str,
        folder: &Path,
    ) -> Result<(Self, Diagnostics), Diagnostics> {
        read::read(&read::Origin {
            name,
            text,
            folder,
            environment: &|variable| std::env::var_os(variable),
        })
    }
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Where clients are served, all alike.
    pub listen: Vec<SocketAddr>,
    /// Where trusted proxies connect that begin with a PROXY protocol header.
    /// Empty only where `listen` is not.
    pub proxy_listen: Vec<SocketAddr>,
    /// Proxies that say where a client is.
    pub proxies: Proxies,
    /// How long a client may take from its connection to its upgrade.
    pub header_timeout: Duration,
    /// How long live streams may go on after the first signal.
    pub drain_timeout: Duration,
    /// Connections that may be admitted at once; fewer where file descriptors
    /// are scarce.
    pub max_connections: usize,
    /// Connections beyond these that are told so at once; more wait.
    pub max_refusals: usize,
    /// Streams that may wait for their clients at once.
    pub max_parked: usize,
    /// Bytes that all connections together may make the gateway hold.
    pub max_memory: usize,
    /// What one client may have of the gateway.
    pub shares: Shares,
    /// Serves TLS, and nothing else, where it is there.
    pub tls: Option<Tls>,
    /// The admin listener, where there is one.
    pub admin: Option<SocketAddr>,
    /// Hosts by whose names the admin listener may be asked, beside loopback's.
    pub admin_hosts: Vec<String>,
    /// Whether a file that changes is taken up at once.
    pub watch: Watch,
}

/// What happens when a file of the configuration changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The configuration is read again.
    Reload,
    /// Nothing, until somebody asks for it.
    Wait,
}

impl Server {
    /// The options that have other values in `other`.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        // Taken apart, so that an option that is added is not forgotten.
        let Self {
            listen,
            proxy_listen,
            proxies,
            header_timeout,
            drain_timeout,
            max_connections,
            max_refusals,
            max_parked,
            max_memory,
            shares,
            tls,
            admin,
            admin_hosts,
            watch,
        } = self;
        // Which certificate that is, a reload takes up.
        let speaks_tls = |tls: &Option<Tls>| tls.is_some();
        let same = [
            ("listen", *listen == other.listen),
            ("proxy_listen", *proxy_listen == other.proxy_listen),
            (
                "trusted_proxies, client_address_header",
                *proxies == other.proxies,
            ),
            ("header_timeout", *header_timeout == other.header_timeout),
            ("drain_timeout", *drain_timeout == other.drain_timeout),
            ("max_connections", *max_connections == other.max_connections),
            ("max_refusals", *max_refusals == other.max_refusals),
            ("max_parked", *max_parked == other.max_parked),
            ("max_memory", *max_memory == other.max_memory),
            (
                "max_connections_per_address, max_connections_per_user, \
                 max_connections_per_tenant, max_parked_per_client",
                *shares == other.shares,
            ),
            (
                "tls_certificate, tls_key",
                speaks_tls(tls) == speaks_tls(&other.tls),
            ),
            ("admin_listen", *admin == other.admin),
            ("admin_hosts", *admin_hosts == other.admin_hosts),
            ("watch", *watch == other.watch),
        ];
        let differ = same.iter().filter(|(_, same)| !same);
        differ.map(|(option, _)| *option).collect()
    }
}

/// `[server]`: `tls_certificate` and `tls_key`, which come together.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The chain in PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
    /// Where the certificate stands in the file.
    pub place: Place,
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

/// `[key_sets.NAME]`
#[derive(Debug)]
pub struct KeySet {
    /// Where the keys come from.
    pub source: KeySource,
    /// The file that they were read from, unless they stand in the configuration
    /// itself.
    pub file: Option<PathBuf>,
    /// The algorithms that are accepted, by their JOSE names. Never empty.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Values of `iss` that are accepted; empty: `iss` is not looked at.
    pub issuers: Vec<String>,
    /// Values of `aud` that are accepted; empty: a token that has an `aud` is refused.
    pub audiences: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Where it stands in the file.
    pub place: Place,
}

/// Where the keys of a set come from.
pub enum KeySource {
    /// Made at first start, kept in the data folder: for development.
    Generate,
    /// A shared secret (HS256), from the file, another file or the environment.
    Secret(Secret),
    /// A public key in PEM (RS256, ES256, `EdDSA`).
    Pem(Vec<u8>),
    /// A JWK set, as JSON text.
    Jwks(String),
}

/// Keys are no reading matter, and a JWK set may hold secret ones.
impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generate => "Generate",
            Self::Secret(_) => "Secret(..)",
            Self::Pem(_) => "Pem(..)",
            Self::Jwks(_) => "Jwks(..)",
        })
    }
}

/// `[policies.NAME]`
#[derive(Clone)]
pub struct Policy {
    /// `builtin:auth`, a path to a `.wasm` file, or an address in a registry.
    pub component: Component,
    /// The one component that it may be.
    pub sha256: Option<Pin>,
    /// How it is tried out, where it is not simply in use.
    pub trial: Option<Trial>,
    /// The interfaces beyond `connection`, `config`, `log` and `clock` that it
    /// may import, and `credentials`.
    pub grants: Vec<Grant>,
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
    /// Where it stands in the file.
    pub place: Place,
    /// Where `component` stands in the file.
    pub component_place: Place,
    /// Where `grants` stands in the file (the policy's header without it).
    pub grants_place: Place,
    /// Where `config` stands in the file (the policy's header without it).
    pub config_place: Place,
    /// Where the keys in `config` stand.
    pub config_places: BTreeMap<String, Place>,
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

/// What a policy's failure means for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Refuse with `policy_failed`.
    Closed,
    /// Go on as if the policy had accepted.
    Open,
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

/// `[upstreams.NAME]`
#[derive(Debug, Clone)]
pub enum Upstream {
    /// Records each stream as a WAV file.
    Wav {
        /// Where the recordings go, and how long they stay.
        recordings: Recordings,
        /// Free space below which no recording begins.
        min_free: Watermark,
    },
    /// Sends every message back.
    Echo,
    /// Counts and drops.
    Discard,
    /// Relays each stream to a backend.
    WebSocket(Box<WebSocket>),
}

impl Upstream {
    /// Descriptors that one of its streams may have open at once.
    #[must_use]
    pub fn descriptors(&self) -> u32 {
        match self {
            Self::Wav { .. } => 1,
            Self::Echo | Self::Discard => 0,
            Self::WebSocket(backend) => backend.descriptors(),
        }
    }

    /// Connections that it keeps for streams to come.
    #[must_use]
    pub fn warm(&self) -> usize {
        match self {
            Self::WebSocket(backend) => backend.warm_connections * backend.addresses.len().max(1),
            Self::Wav { .. } | Self::Echo | Self::Discard => 0,
        }
    }

    /// What it records, where it records.
    #[must_use]
    pub fn recordings(&self) -> Option<&Recordings> {
        match self {
            Self::Wav { recordings, .. } => Some(recordings),
            Self::WebSocket(backend) => backend.tee.as_ref(),
            Self::Echo | Self::Discard => None,
        }
    }
}

/// `[routes.NAME]`
#[derive(Debug, Clone)]
pub struct Route {
    /// The paths, with parameters in braces.
    pub paths: Vec<String>,
    /// What the client says first.
    pub handshake: HandshakeMode,
    /// Names of the policies that are asked after the upgrade, in order.
    pub on_connect: Vec<String>,
    /// Names of the policies that are asked with the handshake, in order.
    pub on_handshake: Vec<String>,
    /// Names of the policies that are asked while a client streams, in order.
    pub on_frames: Vec<String>,
    /// Names of the policies that are told of the end, in order.
    pub on_close: Vec<String>,
    /// What frame policies are shown.
    pub metering: Metering,
    /// Name of the upstream.
    pub upstream: String,
    /// Deadlines and bounds.
    pub limits: Arc<Limits>,
    /// Web pages that may connect, beside those of the route's own host.
    pub origins: Origins,
    /// Subprotocols that may be agreed on, the first that the client offers.
    pub subprotocols: Vec<String>,
    /// How often the same client may try.
    pub rate_limit: Option<Allowance>,
    /// Where it stands in the file.
    pub place: Place,
    /// Where `on_connect` stands.
    pub on_connect_place: Place,
    /// Where `on_handshake` stands.
    pub on_handshake_place: Place,
    /// Where `on_frames` stands.
    pub on_frames_place: Place,
    /// Where `on_close` stands.
    pub on_close_place: Place,
}

/// What the client says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeMode {
    /// The JSON handshake, ack and control messages of `ingest.v1`.
    IngestV1,
    /// Nothing: messages pass as they are.
    None,
}
