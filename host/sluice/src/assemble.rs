//! Assembly of a gateway from its configuration. All remaining mistakes are found here, and
//! reported together.

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use tokio_util::task::TaskTracker;

use crate::credentials::ListenerCredentials;
use base::diagnostics::Diagnostics;
use base::permits::{self, Capacity, ConfiguredCapacity, Permits};
use base::shutdown::Shutdown;
use config::Config;
use gateway::parking::Parking;
use gateway::refusals::Refusals;
use gateway::revocations::Revocations;
use gateway::routes::{Defects, Gateway};
use keys::KeySets;
use session::registry::Registry;
use upstream::settings::Upstream;

pub mod cluster;
pub mod generation;
pub mod upstreams;

use generation::{Builder, Built};
use upstreams::BuildUpstreams;

/// Gateway that is ready to serve, with the parts that others need.
pub struct Assembled {
    /// Certificates and tokens of its listeners.
    pub credentials: ListenerCredentials,
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// Keys with which its policies verify tokens.
    pub key_sets: Arc<KeySets>,
    /// Builder of later generations.
    pub builder: Builder,
}

/// Builds everything that the configuration names. `upstreams` builds the upstreams. Mistakes are
/// added to `diagnostics`; if there are any, the result must not serve.
///
/// # Errors
/// If the machine lacks a resource that every gateway needs.
pub async fn assemble(
    config: &Config,
    upstreams: BuildUpstreams,
    diagnostics: &mut Diagnostics,
) -> anyhow::Result<Assembled> {
    let registry = Registry::default();
    let builder = Builder::new(config, upstreams, registry.clone())?;
    let Built {
        generation,
        key_sets,
        lists,
        destinations,
        cluster,
    } = builder.build(config, None, diagnostics).await;
    // With mistakes nothing serves.
    builder.lists().put(lists);
    builder.destinations().serve(&destinations);
    builder.serves(cluster);
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
        connections: Arc::default(),
        refusals: Refusals::default(),
        revocations: Revocations::default(),
        tracer: OnceLock::new(),
        parking: Parking::new(room.parked, room.parked_per_client),
        tasks: TaskTracker::new(),
        shutdown: Shutdown::default(),
        defects: Defects::default(),
    });
    Ok(Assembled {
        credentials: ListenerCredentials::read(config, diagnostics),
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
        services: config
            .destinations
            .values()
            .map(|destination| destination.service.descriptors())
            .fold(0, usize::saturating_add),
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
