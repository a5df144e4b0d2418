//! Construction of upstreams.

use std::sync::Arc;

use cluster::Cluster;
use config::Config;
use upstream::{Upstream, Upstreams, discard, echo, jetstream, settings, wav, websocket};

/// Builds the upstreams of a configuration, with the connection to NATS if there is one.
pub(crate) type BuildUpstreams = fn(&Config, Option<&Cluster>) -> Upstreams;

/// Builds the upstreams that the configuration names. Those that need NATS are left out where there
/// is none: no configuration without mistakes has one.
#[must_use]
pub fn build(config: &Config, cluster: Option<&Cluster>) -> Upstreams {
    let build = |name: &str, upstream: &settings::Upstream| -> Option<Arc<dyn Upstream>> {
        Some(match upstream {
            settings::Upstream::Wav {
                recordings,
                min_free,
            } => {
                let wav = wav::Wav::new(config.data_dir.join(&recordings.folder));
                let wav = wav.laid_out(&recordings.layout);
                Arc::new(wav.watched(name, *min_free))
            }
            settings::Upstream::Echo => Arc::new(echo::Echo),
            settings::Upstream::Discard => Arc::new(discard::Discard),
            settings::Upstream::WebSocket(backend) => {
                let backend = backend.as_ref().clone();
                Arc::new(websocket::Dialer::new(name, backend, &config.data_dir))
            }
            settings::Upstream::JetStream(jetstream) => {
                let (jetstream, cluster) = (jetstream.clone(), cluster?.clone());
                Arc::new(jetstream::Publisher::new(name, jetstream, cluster))
            }
        })
    };
    let upstreams = config.upstreams.iter();
    upstreams
        .filter_map(|(name, upstream)| Some((name.clone(), build(name, upstream)?)))
        .collect()
}
