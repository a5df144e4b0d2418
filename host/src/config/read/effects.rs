//! What can be read, and has no effect: sections that nobody names, and options that something
//! else makes meaningless.
//!
//! Each is a warning. The gateway serves such a configuration, but whoever wrote it meant
//! something by it. An option at its default says nothing, and nothing is said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::section::Section;
use super::{Places, Reader};
use crate::config::{
    Component, Config, Decisions, Grant, HandshakeMode, Limits, Metering, Place, Route,
};
use crate::policy::breaker::Quarantine;
use crate::rate_limit::Allowance;

/// Options of a route that may have no effect.
const OF_ROUTES: [&str; 11] = [
    "handshake_timeout",
    "max_ahead",
    "resume_grace",
    "idle_timeout",
    "ping_interval",
    "frames_window",
    "frames_kept",
    "frames_payload",
    "rate_attempts",
    "rate_per",
    "rate_key",
];

impl Section<'_> {
    /// The places of those options of a route that are there.
    pub(super) fn given(&self, reader: &Reader<'_>) -> Places {
        let there = OF_ROUTES.into_iter().filter(|key| self.has(key));
        there.map(|key| (key, self.place_of(reader, key))).collect()
    }
}

impl Reader<'_> {
    fn ineffective(&mut self, given: &Places, key: &'static str, why: &str, help: &str) {
        if let Some(place) = given.get(key) {
            let message = format!("`{key}` has no effect: {why}");
            self.warning(place, message, help).label("no effect");
        }
    }

    /// Options of a route that others of the same route make meaningless.
    pub(super) fn check_route(
        &mut self,
        given: &Places,
        handshake: HandshakeMode,
        on_frames: &[String],
        metering: &Metering,
        limits: &Limits,
    ) {
        let default = Limits::default();
        if handshake == HandshakeMode::None {
            let why = "the route has no handshake";
            let help = "leave it out, or write `handshake = \"ingest.v1\"`";
            let differ = [
                (
                    "handshake_timeout",
                    limits.handshake_timeout != default.handshake_timeout,
                ),
                ("max_ahead", limits.max_ahead.is_some()),
                (
                    "resume_grace",
                    limits.resume_grace.is_some() && limits.resume_grace != default.resume_grace,
                ),
            ];
            for (key, _) in differ.iter().filter(|(_, differs)| *differs) {
                self.ineffective(given, key, why, help);
            }
        }
        if on_frames.is_empty() {
            let why = "no policy of the route is asked about frames";
            let help = "leave it out, or name a policy in `on_frames`";
            let usual = Metering::default();
            let differ = [
                ("frames_window", metering.window != usual.window),
                ("frames_kept", metering.frames != usual.frames),
                ("frames_payload", metering.payload != usual.payload),
            ];
            for (key, _) in differ.iter().filter(|(_, differs)| *differs) {
                self.ineffective(given, key, why, help);
            }
        }
        if limits.ping_interval >= limits.idle_timeout {
            let key = if given.contains_key("ping_interval") {
                "ping_interval"
            } else {
                "idle_timeout"
            };
            if let Some(place) = given.get(key) {
                let message = "a client that sends nothing is given up before the first ping: \
                               `ping_interval` is not under `idle_timeout`";
                let help = "ping at least twice within `idle_timeout`";
                self.warning(place, message, help);
            }
        }
    }

    /// A rate limit's options without the limit, and what tells its clients apart.
    pub(super) fn check_rate(&mut self, given: &Places, limit: Option<&Allowance>, per: Duration) {
        if limit.is_some() {
            return;
        }
        let why = "without `rate_attempts` there is no limit";
        let help = "leave it out, or write `rate_attempts` too";
        if per != Duration::from_mins(1) {
            self.ineffective(given, "rate_per", why, help);
        }
    }

    pub(super) fn check_quarantine(&mut self, place: &Place, quarantine: &Quarantine) {
        if quarantine.lasts.is_zero() && quarantine.after != 10 {
            let message = "`quarantine_after` has no effect: with `quarantine = \"0s\"` no policy \
                           is left alone";
            self.warning(place, message, "leave one of the two out")
                .label("no effect");
        }
    }

    pub(super) fn check_decisions(&mut self, place: &Place, decisions: &Decisions) {
        if decisions.file.is_none() && (decisions.max_size != 64 << 20 || decisions.max_files != 8)
        {
            let message = "[decisions] records nothing: it names no `file`";
            let help = "write `file = \"decisions.jsonl\"`, or leave the section out";
            self.warning(place, message, help).label("no effect");
        }
    }

    /// Sections and options that nothing else in the file leads to.
    pub(super) fn check_effects(&mut self, config: &Config, upstreams: &BTreeMap<String, Place>) {
        let routes = || config.routes.values();
        for (name, set) in &config.key_sets {
            let verifiers = config.policies.values();
            let mut verifiers = verifiers.filter(|policy| policy.grants.contains(&Grant::Jwt));
            if !verifiers.any(|policy| policy.config.values().any(|value| says(value, name))) {
                let message = format!("no policy verifies tokens with the key set `{name}`");
                let help = "name it in the section of a policy that is granted `jwt`, or remove it";
                self.warning(&set.place, message, help).label("not used");
            }
        }
        let asked: BTreeSet<&str> = routes().flat_map(asked).collect();
        for (name, policy) in &config.policies {
            let trial = policy.trial.as_ref();
            let stands_for = trial.and_then(|trial| trial.stands_for.as_deref());
            if !asked.contains(stands_for.unwrap_or(name)) {
                let message = format!("policy `{name}` is never asked: no route leads to it");
                let help = "name it in a route, or remove its section";
                self.warning(&policy.place, message, help).label("not used");
            }
        }
        for (name, place) in upstreams {
            if !routes().any(|route| route.upstream == *name) {
                let message = format!("no route streams to the upstream `{name}`");
                let help = "name it as the `upstream` of a route, or remove its section";
                self.warning(place, message, help).label("not used");
            }
        }
        self.check_known(config, upstreams);
        let components = || config.policies.values().map(|policy| &policy.component);
        let has_registry = components().any(|from| matches!(from, Component::Oci(_)));
        if let Some(place) = self.credentials_place.clone().filter(|_| !has_registry) {
            let message = "no component comes from a registry, so that nobody asks for credentials";
            let help = "leave `registry_credentials` and `registry_realms` out";
            self.warning(&place, message, help).label("no effect");
        }
        for (name, route) in &config.routes {
            self.check_patience(name, route, config);
            let grace = route.limits.resume_grace;
            let given = grace.is_some() && grace != Limits::default().resume_grace;
            if given && config.server.max_parked == 0 {
                let message = format!(
                    "`resume_grace` of [routes.{name}] has no effect: `max_parked` lets no stream \
                     wait for its client"
                );
                let help = "raise `max_parked` in [server], or write `resume_grace = \"0s\"`";
                self.warning(&route.place, message, help);
            }
        }
    }

    /// A policy that may take longer than the route gives all of them together is never given up by
    /// its own deadline.
    fn check_patience(&mut self, name: &str, route: &Route, config: &Config) {
        let admission = route.limits.admission_timeout;
        for policy in route.on_connect.iter().chain(&route.on_handshake) {
            let Some(settings) = config.policies.get(policy) else {
                continue;
            };
            let limits = &settings.limits;
            for (key, limit) in [
                ("timeout", limits.timeout),
                ("queue_timeout", limits.queue_timeout),
            ] {
                if limit > admission {
                    let message = format!(
                        "`{key}` of policy `{policy}` has no effect in [routes.{name}], whose \
                         `admission_timeout` is over before"
                    );
                    let help = "write a shorter one, or a longer `admission_timeout`";
                    self.warning(&settings.place, message, help);
                }
            }
        }
    }
}

fn asked(route: &Route) -> impl Iterator<Item = &str> {
    let lists = [
        &route.on_connect,
        &route.on_handshake,
        &route.on_frames,
        &route.on_close,
    ];
    lists.into_iter().flatten().map(String::as_str)
}

/// Whether a policy's configuration has a name anywhere in it: what its keys mean, the policy
/// alone knows.
fn says(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text == name,
        Value::Array(values) => values.iter().any(|value| says(value, name)),
        Value::Object(values) => values
            .iter()
            .any(|(key, value)| key == name || says(value, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
