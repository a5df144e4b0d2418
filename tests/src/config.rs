//! Configurations for tests.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::token::SECRET;

/// Builder of a configuration file. Its `Display` is the text of the file.
#[derive(Debug, Clone, Default)]
pub struct Config(BTreeMap<String, BTreeMap<String, Value>>);

impl Config {
    /// Ingest routes on both paths, with three policies and recordings. There are also a WebSocket
    /// echo route and a route that drops messages.
    pub fn ingest() -> Self {
        let paths = [
            "/ws/ingest/meetings/{meeting_id}",
            "/api/v1/ws/ingest/meetings/{meeting_id}",
        ];
        // A machine that runs all tests at once is busier than a gateway may be. Other tests check
        // the time limits of policies.
        let patient = |config: Self, policy| config.set(policy, "timeout", json!("2s"));
        let policies = [
            "policies.auth",
            "policies.duplicate",
            "policies.sample-rate",
        ];
        policies
            .into_iter()
            .fold(Self::default(), patient)
            .set("key_sets.main", "secret", json!(SECRET))
            .set("key_sets.main", "algorithms", json!(["HS256"]))
            .set("key_sets.main", "audiences", json!(["meetings"]))
            .set("key_sets.main", "issuers", json!(["our-app"]))
            .set("key_sets.main", "leeway", json!("0s"))
            .set("policies.auth", "component", json!("builtin:auth"))
            .set("policies.auth", "grants", json!(["jwt"]))
            .set("policies.auth.config", "key_set", json!("main"))
            .set(
                "policies.duplicate",
                "component",
                json!("builtin:duplicate"),
            )
            .set("policies.duplicate", "grants", json!(["sessions"]))
            .set(
                "policies.sample-rate",
                "component",
                json!("builtin:sample-rate"),
            )
            .set("upstreams.recordings", "kind", json!("wav"))
            .set("upstreams.mirror", "kind", json!("echo"))
            .set("upstreams.nowhere", "kind", json!("discard"))
            .set("routes.ingest", "paths", json!(paths))
            .set("routes.ingest", "handshake", json!("ingest.v1"))
            .set("routes.ingest", "on_connect", json!(["auth", "duplicate"]))
            .set("routes.ingest", "on_handshake", json!(["sample-rate"]))
            .set("routes.ingest", "upstream", json!("recordings"))
            .set("routes.echo", "paths", json!(["/echo"]))
            .set("routes.echo", "handshake", json!("none"))
            .set("routes.echo", "upstream", json!("mirror"))
            .set("routes.discard", "paths", json!(["/discard"]))
            .set("routes.discard", "handshake", json!("none"))
            .set("routes.discard", "upstream", json!("nowhere"))
    }

    /// Routes without policies, which start fast: `/ingest/{meeting_id}` with a handshake, and
    /// `/echo` without.
    pub fn open() -> Self {
        Self::default()
            .set("upstreams.mirror", "kind", json!("echo"))
            .set("upstreams.nowhere", "kind", json!("discard"))
            .set("routes.ingest", "paths", json!(["/ingest/{meeting_id}"]))
            .set("routes.ingest", "handshake", json!("ingest.v1"))
            .set("routes.ingest", "upstream", json!("nowhere"))
            .set("routes.echo", "paths", json!(["/echo"]))
            .set("routes.echo", "handshake", json!("none"))
            .set("routes.echo", "upstream", json!("mirror"))
    }

    /// Sets a key of a section. TOML writes strings, numbers, booleans and lists as JSON does.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, value: Value) -> Self {
        self.0
            .entry(section.to_owned())
            .or_default()
            .insert(key.to_owned(), value);
        self
    }

    /// Sets a limit of the ingest route.
    #[must_use]
    pub fn limit(self, key: &str, value: &str) -> Self {
        self.set("routes.ingest", key, json!(value))
    }

    /// Sets a limit of the echo route.
    #[must_use]
    pub fn echo_limit(self, key: &str, value: &str) -> Self {
        self.set("routes.echo", key, json!(value))
    }

    /// Removes a key.
    #[must_use]
    pub fn without(mut self, section: &str, key: &str) -> Self {
        self.0.entry(section.to_owned()).or_default().remove(key);
        self
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (section, keys) in &self.0 {
            writeln!(f, "[{section}]")?;
            for (key, value) in keys {
                writeln!(f, "{key} = {value}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
