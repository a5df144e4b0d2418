//! Construction of upstreams.

use std::sync::Arc;

use config::Config;
use upstream::{Upstream, Upstreams, discard, echo, settings, wav, websocket};

/// Builds the upstreams that the configuration names.
#[must_use]
pub fn build(config: &Config) -> Upstreams {
    let build = |name: &str, upstream: &settings::Upstream| -> Arc<dyn Upstream> {
        match upstream {
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
        }
    };
    let upstreams = config.upstreams.iter();
    upstreams
        .map(|(name, upstream)| (name.clone(), build(name, upstream)))
        .collect()
}
