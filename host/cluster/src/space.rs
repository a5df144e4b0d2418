//! Streams of `JetStream`, in which chains and records are kept.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};

use crate::connection::{Away, Cluster};

/// Interval in which servers know a message by its id. None has one, so that it is short.
const DUPLICATES: Duration = Duration::from_secs(2);

/// What a stream of `JetStream` keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every message.
    Chains,
    /// The last message of each subject, which may have a time to live.
    Records,
}

/// Stream of `JetStream`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// What it keeps.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its subjects, with wildcards.
    pub subjects: String,
    /// Maximum size, in bytes, on each server. It is reserved when the stream is created.
    pub max_bytes: u64,
    /// Time after which messages are removed.
    pub max_age: Duration,
}

impl Space {
    fn config(&self, replicas: usize) -> Config {
        Config {
            name: self.name.clone(),
            subjects: vec![self.subjects.clone()],
            max_bytes: i64::try_from(self.max_bytes).unwrap_or(i64::MAX),
            max_age: self.max_age,
            max_messages_per_subject: match self.kind {
                Kind::Chains => -1,
                Kind::Records => 1,
            },
            allow_message_ttl: self.kind == Kind::Records,
            num_replicas: replicas,
            storage: StorageType::File,
            // What was acknowledged is never removed for what comes later.
            discard: DiscardPolicy::New,
            // A follower answers direct reads with what it has.
            allow_direct: false,
            duplicate_window: DUPLICATES,
            ..Config::default()
        }
    }
}

impl Cluster {
    /// Creates a stream of `JetStream`, unless it exists. One that exists stays as it is.
    ///
    /// # Errors
    /// [`Away`], also if the servers refuse to create it.
    pub async fn ensure(&self, space: &Space) -> Result<(), Away> {
        if self.knows(&space.name) {
            return Ok(());
        }
        let config = space.config(self.settings().replicas);
        let context = self.context().await?;
        self.is_new_enough(&context.client())?;
        let creating = async {
            let stream = context.get_or_create_stream(config.clone()).await;
            let stream = stream.map_err(|error| match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            })?;
            Ok(stream.cached_info().config.clone())
        };
        let found = self.within(creating).await?;
        self.has_succeeded();
        if self.has(&space.name) {
            let differs = differences(&config, &found);
            if !differs.is_empty() {
                tracing::warn!(
                    stream = space.name,
                    differs = differs.join(", "),
                    "the stream exists in JetStream with other settings, which stay: \
                     change them with the tools of NATS"
                );
            }
        }
        Ok(())
    }
}

/// Settings of a stream that differ from those that are wanted.
fn differences(wanted: &Config, found: &Config) -> Vec<String> {
    let mut differs = Vec::new();
    let mut compare = |name: &str, wanted: String, found: String| {
        if wanted != found {
            differs.push(format!("{name} is {found}, not {wanted}"));
        }
    };
    let debug = |value: &dyn std::fmt::Debug| format!("{value:?}");
    compare("subjects", debug(&wanted.subjects), debug(&found.subjects));
    compare(
        "max_bytes",
        wanted.max_bytes.to_string(),
        found.max_bytes.to_string(),
    );
    compare("max_age", debug(&wanted.max_age), debug(&found.max_age));
    compare(
        "replicas",
        wanted.num_replicas.to_string(),
        found.num_replicas.to_string(),
    );
    compare("discard", debug(&wanted.discard), debug(&found.discard));
    compare("storage", debug(&wanted.storage), debug(&found.storage));
    differs
}
