//! From the configuration to a gateway that can serve. Everything that can be
//! wrong shows here, and is reported together.

use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::task::TaskTracker;

use base::diagnostics::Diagnostics;
use base::permits::{self, Capacity, ConfiguredCapacity, Permits};
use base::shutdown::Shutdown;
use base::tls;
use config::Config;
use gateway::parking::Parking;
use gateway::routes::{Defects, Gateway};
use keys::KeySets;
use session::registry::Registry;
use upstream::Upstreams;
use upstream::settings::Upstream;

pub mod generation;
pub mod upstreams;

use generation::Builder;

/// A gateway, and the keys for whoever mints tokens.
pub struct Assembled {
    /// For a main listener that speaks TLS.
    pub tls: Option<tls::Acceptor>,
    /// Ready to serve.
    pub gateway: Arc<Gateway>,
    /// The same keys that its policies verify with.
    pub key_sets: Arc<KeySets>,
    /// For the generations to come.
    pub builder: Builder,
}

/// Builds everything that the configuration names, the upstreams by what is
/// given. Mistakes are added to `diagnostics`; what is returned must not serve
/// if there are any.
///
/// # Errors
/// Where the machine does not give what every gateway needs.
pub async fn assemble(
    config: &Config,
    upstreams: fn(&Config) -> Upstreams,
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Assembled> {
    let registry = Registry::default();
    let builder = Builder::new(config, upstreams, registry.clone())?;
    let (generation, key_sets) = builder.build(config, None, diagnostics).await;
    let room = room(config)?;
    let gateway = Arc::new(Gateway {
        generation: Arc::new(generation).into(),
        permits: Permits::new(room.places, config.server.max_refusals)
            .with_upstreams(room.upstreams)
            .with_memory(config.server.max_memory)
            .with_shares(config.server.shares.clone()),
        proxies: config.server.proxies.clone(),
        default_limits: Arc::default(),
        registry,
        parking: Parking::new(room.parked, room.parked_per_client),
        tasks: TaskTracker::new(),
        shutdown: Shutdown::default(),
        defects: Defects::default(),
    });
    let tls = config.server.tls.as_ref();
    let tls = tls.and_then(|tls| tls::Certificate::read(tls, diagnostics));
    Ok(Assembled {
        tls: tls.map(tls::Acceptor::new),
        gateway,
        key_sets,
        builder,
    })
}

/// Capacity that was configured, or as much of it as the file descriptors allow.
fn room(config: &Config) -> anyhow::Result<Capacity> {
    let descriptors = permits::raise_descriptor_limit()
        .context("the limit of file descriptors cannot be read")?;
    let server = &config.server;
    let upstreams = config.upstreams.values();
    let wanted = ConfiguredCapacity {
        places: server.max_connections,
        refusals: server.max_refusals,
        parked: server.max_parked,
        parked_per_client: server.shares.parked_per_client,
        per_upstream: upstreams
            .clone()
            .map(Upstream::descriptors)
            .max()
            .unwrap_or_default(),
        warm: upstreams.map(Upstream::warm).sum(),
    };
    let room = Capacity::of(descriptors, &wanted);
    if room.places < wanted.places || room.parked < wanted.parked {
        tracing::info!(
            max_connections = room.places,
            max_parked = room.parked,
            descriptors,
            "less room than configured: file descriptors are scarce (ulimit -n)"
        );
    }
    Ok(room)
}
