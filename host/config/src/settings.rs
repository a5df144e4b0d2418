//! What a configuration says, in the types of whoever is told it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base::diagnostics::Place;
use base::files::Content;
use base::limits::{Limits, Metering};
use base::permits::Shares;
use base::tls::settings::Tls;
use keys::settings::KeySet;
use policy::fetch::credentials::Credentials;
use policy::settings::{Decisions, Policy};
use session::handshake::HandshakeMode;
use session::origin::Origins;
use session::rate_limit::Allowance;
use upstream::settings::Upstream;
use wire::proxies::Proxies;

/// The policies that are embedded in the binary.
pub(crate) const BUILTINS: [&str; 3] = ["auth", "duplicate", "sample-rate"];

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
    /// Every name that the file declares.
    pub declared: Declared,
    /// Attributes that upstreams are told.
    pub upstream_attributes: Vec<UpstreamAttribute>,
    /// Every file that it was made from, those included that are not there:
    /// when one of them changes, the configuration may have. With what was in
    /// it, where it was read already.
    pub files: BTreeMap<PathBuf, Option<Content>>,
}

/// Names of sections, those with mistakes included, which are in no other part of the configuration.
#[derive(Debug, Default)]
pub struct Declared {
    /// Of `[key_sets.NAME]`.
    pub key_sets: BTreeSet<String>,
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
