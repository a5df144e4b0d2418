//! From the configuration to a gateway that can serve. Everything that can be
//! wrong shows here, and is reported together.

use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::task::TaskTracker;

use crate::config::{self, Config, Diagnostics};
use crate::gateway::{Defects, Gateway};
use crate::keys::KeySets;
use crate::lanes::{self, Lanes};
use crate::parking::Parking;
use crate::session::Registry;
use crate::shutdown::Shutdown;
use crate::tls;
use crate::upstream::Upstreams;

pub mod generation;

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
    let gateway = Arc::new(Gateway {
        generation: Arc::new(generation).into(),
        lanes: lanes(&config.server)?,
        default_limits: Arc::default(),
        registry,
        parking: Parking::new(config.server.max_parked),
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

/// As many places as were asked for, where there are descriptors for them.
fn lanes(server: &config::Server) -> anyhow::Result<Lanes> {
    let descriptors =
        lanes::raise_descriptor_limit().context("the limit of file descriptors cannot be read")?;
    let places = lanes::places(server.max_connections, server.max_refusals, descriptors);
    if places < server.max_connections {
        tracing::info!(
            wanted = server.max_connections,
            places,
            descriptors,
            "fewer connections than configured: file descriptors are scarce (ulimit -n)"
        );
    }
    Ok(Lanes::new(places, server.max_refusals))
}
