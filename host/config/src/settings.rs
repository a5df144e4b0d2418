//! Settings of the gateway, in the types of the crates that use them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::diff::Options;
use base::diagnostics::Place;
use base::files::Content;
use base::limits::{Limits, Metering};
use base::permits::Shares;
use base::secret::Secret;
use base::tls::settings::Tls;
use cluster::settings::Cluster;
use keys::settings::KeySet;
use policy::Hook;
use policy::destinations::settings::Destination;
use policy::fetch::credentials::Credentials;
use policy::settings::{Decisions, List, Policy};
use policy::signature::Signatures;
use session::handshake::HandshakeMode;
use session::origin::Origins;
use session::rate_limit::Allowance;
use traces::settings::Traces;
use upstream::settings::Upstream;
use wire::proxies::Proxies;

/// Policies that are embedded in the binary.
pub(crate) const BUILTINS: [&str; 3] = ["auth", "duplicate", "sample-rate"];

/// Complete configuration.
///
/// Every name in it resolves, even after mistakes: a part that could not be made is left out with
/// every reference to it.
#[derive(Debug)]
pub struct Config {
    /// Folder of recordings and generated keys.
    pub data_dir: PathBuf,
    /// Credentials for registries of components.
    pub credentials: Credentials,
    /// Hosts, beside a registry's own, that may receive these credentials for a token.
    pub realms: Vec<String>,
    /// Main listener.
    pub server: Server,
    /// Record of decisions.
    pub decisions: Decisions,
    /// Export of traces, if there is any.
    pub traces: Option<Traces>,
    /// Connection to NATS, if there is one.
    pub cluster: Option<Cluster>,
    /// Keys for verifying tokens, by the name of their set.
    pub key_sets: BTreeMap<String, KeySet>,
    /// Lists that policies look things up in, by name.
    pub lists: BTreeMap<String, List>,
    /// `[signers.NAME]`: whose signatures make a component one that is loaded.
    pub signatures: Signatures,
    /// Services that policies may ask, by name.
    pub destinations: BTreeMap<String, Destination>,
    /// Policies by name.
    pub policies: BTreeMap<String, Policy>,
    /// Upstreams by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Routes by name.
    pub routes: BTreeMap<String, Route>,
    /// Every name that the file declares.
    pub declared: Declared,
    /// Attributes that upstreams are told.
    pub upstream_attributes: Vec<UpstreamAttribute>,
    /// All files that the configuration was made from, with those that are missing. A change of one
    /// may change the configuration. Holds the content of files that were read.
    pub files: BTreeMap<PathBuf, Option<Content>>,
    /// Options as they are written.
    pub options: Options,
}

/// Names of sections, those with mistakes included, which are in no other part of the configuration.
#[derive(Debug, Default)]
pub struct Declared {
    /// Of `[key_sets.NAME]`.
    pub key_sets: BTreeSet<String>,
    /// Of `[lists.NAME]`.
    pub lists: BTreeSet<String>,
    /// Of `[destinations.NAME]`.
    pub destinations: BTreeSet<String>,
    /// Of `[policies.NAME]`.
    pub policies: BTreeSet<String>,
}

/// An attribute that an upstream is told, or that is in its address or in the names of its folders.
#[derive(Debug)]
pub struct UpstreamAttribute {
    /// The upstream's name.
    pub upstream: String,
    /// The attribute's full name: `auth.tenant_id`.
    pub name: String,
    /// The option that tells a backend who a client is by it: `user` or `tenant`.
    pub identity: Option<&'static str>,
    /// Where the upstream stands in the file.
    pub place: Place,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Addresses where clients connect.
    pub listen: Vec<SocketAddr>,
    /// Addresses where trusted proxies connect with a PROXY protocol header. Empty only if `listen`
    /// is not.
    pub proxy_listen: Vec<SocketAddr>,
    /// Trusted proxies, and how they report the client's address.
    pub proxies: Proxies,
    /// Time that a client may take from its connection to its upgrade.
    pub header_timeout: Duration,
    /// Time that live streams may continue after the first signal.
    pub drain_timeout: Duration,
    /// Maximum number of admitted connections. File descriptors may lower it.
    pub max_connections: usize,
    /// Maximum number of further connections, which are refused at once. Others wait.
    pub max_refusals: usize,
    /// Maximum number of streams that wait for their clients.
    pub max_parked: usize,
    /// Maximum number of bytes that all connections together make the gateway hold.
    pub max_memory: usize,
    /// Limits for one client.
    pub shares: Shares,
    /// Certificate and key. If present, the listener only speaks TLS.
    pub tls: Option<Tls>,
    /// Admin listener and probe listener.
    pub admin: Admin,
    /// Whether a changed file is reloaded at once.
    pub watch: OnChange,
}

/// The listener for operators, and the one for probes.
#[derive(Debug, Clone, Default)]
pub struct Admin {
    /// Address of the admin listener, if there is one.
    pub listen: Option<SocketAddr>,
    /// Host names of both listeners, beside those of loopback.
    pub hosts: Vec<String>,
    /// Certificate and key. If present, the admin listener only speaks TLS.
    pub tls: Option<Tls>,
    /// Tokens of those who may use the admin listener.
    pub tokens: AdminTokens,
    /// Address of the listener for probes and metrics, if there is one.
    pub probe: Option<SocketAddr>,
}

/// Tokens of the admin listener, by what their bearers may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdminTokens {
    /// Of those who may read. If absent, whoever reaches a loopback address may.
    pub read: Option<Secret>,
    /// Of those who may read and change.
    pub operate: Option<Secret>,
}

impl AdminTokens {
    /// Whether there is no token at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read.is_none() && self.operate.is_none()
    }
}

/// Effect of a changed file of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// The configuration is reloaded.
    Reload,
    /// Nothing, until a reload is requested.
    Wait,
}

impl Server {
    /// Options with different values in `other`.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        // Destructured, so that a new option is not forgotten.
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
            admin:
                Admin {
                    listen: admin_listen,
                    hosts,
                    tls: admin_tls,
                    // A reload takes up other tokens.
                    tokens: _,
                    probe,
                },
            watch,
        } = self;
        // A reload takes up another certificate.
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
            ("admin_listen", *admin_listen == other.admin.listen),
            ("admin_hosts", *hosts == other.admin.hosts),
            (
                "admin_tls_certificate, admin_tls_key",
                speaks_tls(admin_tls) == speaks_tls(&other.admin.tls),
            ),
            ("probe_listen", *probe == other.admin.probe),
            ("watch", *watch == other.watch),
        ];
        let differ = same.iter().filter(|(_, same)| !same);
        differ.map(|(option, _)| *option).collect()
    }
}

/// `[routes.NAME]`
#[derive(Debug, Clone)]
pub struct Route {
    /// Paths, with parameters in braces.
    pub paths: Vec<String>,
    /// Protocol of the clients.
    pub handshake: HandshakeMode,
    /// Policies that are called after the upgrade, in order.
    pub on_connect: Vec<String>,
    /// Policies that are called with the handshake, in order.
    pub on_handshake: Vec<String>,
    /// Policies that are called while a client streams, in order.
    pub on_frames: Vec<String>,
    /// Policies that are told of the end, in order.
    pub on_close: Vec<String>,
    /// Window that frame policies see.
    pub metering: Metering,
    /// Name of the upstream.
    pub upstream: String,
    /// Deadlines and limits.
    pub limits: Arc<Limits>,
    /// Web pages that may connect, beside those of the route's own host.
    pub origins: Origins,
    /// Subprotocols that the server may choose. The first that the client offers is chosen.
    pub subprotocols: Vec<String>,
    /// Limit on a client's attempts.
    pub rate_limit: Option<Allowance>,
    /// Place in the file.
    pub place: Place,
    /// Place of `on_connect`.
    pub on_connect_place: Place,
    /// Place of `on_handshake`.
    pub on_handshake_place: Place,
    /// Place of `on_frames`.
    pub on_frames_place: Place,
    /// Place of `on_close`.
    pub on_close_place: Place,
}

impl Route {
    /// Names of the policies that are called at a hook, in order.
    #[must_use]
    pub fn policies_at(&self, hook: Hook) -> &[String] {
        match hook {
            Hook::Connect => &self.on_connect,
            Hook::Handshake => &self.on_handshake,
            Hook::Frames => &self.on_frames,
            Hook::Close => &self.on_close,
        }
    }

    /// Names of the policies that are called before the stream, in order.
    pub fn admission(&self) -> impl Iterator<Item = &String> {
        self.on_connect.iter().chain(&self.on_handshake)
    }

    /// Names of the policies that are called at any hook, in order.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        let lists = Hook::ALL.into_iter().map(|hook| self.policies_at(hook));
        lists.flatten().map(String::as_str)
    }
}
