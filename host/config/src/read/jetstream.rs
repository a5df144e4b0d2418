//! `[upstreams.NAME]` with `kind = "jetstream"`

use std::collections::BTreeMap;
use std::time::Duration;

use super::Reader;
use crate::settings::Config;
use crate::toml::{Section, Zero};
use base::diagnostics::Place;
use upstream::jetstream::{Hold, JetStream};
use upstream::settings::Upstream;

/// Maximum number of partitions. Each costs a group of servers its own elections.
const MAX_PARTITIONS: u32 = 64;

impl Reader<'_> {
    pub(super) fn jetstream(&mut self, section: &mut Section<'_>) -> JetStream {
        let place = section.place_of("partitions");
        let partitions = section.count("partitions", 1, Zero::Refused);
        let fits = u32::try_from(partitions).ok();
        let fits = fits.filter(|partitions| *partitions <= MAX_PARTITIONS);
        if fits.is_none() {
            let message =
                format!("`partitions` is {partitions}, and {MAX_PARTITIONS} are the most");
            let help = "write a power of two, about twice the number of NATS servers";
            self.error(&place, message, help).label("too many");
        }
        JetStream {
            partitions: fits.unwrap_or(1),
            max_bytes: section.size("max_bytes", 1 << 30),
            max_age: section.duration("max_age", Duration::from_secs(24 * 3600), Zero::Refused),
            hold: Hold {
                timeout: section.duration("hold_timeout", Duration::from_secs(30), Zero::Refused),
                memory: section.memory("hold_memory", 256 * 1024),
            },
        }
    }

    /// Checks that upstreams which need NATS have it.
    pub(super) fn check_cluster(&mut self, config: &Config, places: &BTreeMap<String, Place>) {
        if config.cluster.is_some() {
            return;
        }
        let upstreams = config.upstreams.iter();
        let needing = upstreams.filter(|(_, upstream)| matches!(upstream, Upstream::JetStream(_)));
        for (name, _) in needing {
            let message = format!("[upstreams.{name}] keeps streams in NATS, and there is none");
            let help = "write `servers = [\"nats://127.0.0.1:4222\"]` in [cluster]";
            self.error(&places[name], message, help);
        }
    }
}
