//! Warnings about sections that nothing uses, and options without effect.
//!
//! The gateway serves such a configuration, but its author meant something by it. An option at its
//! default value gets no warning.

use std::collections::{BTreeMap, BTreeSet};

use super::Reader;
use crate::settings::{Config, Route};
use base::diagnostics::Place;
use policy::settings::{Component, Decisions, Grant, Policy};
use policy::signature::Signatures;
use upstream::settings::Upstream;

mod destinations;
mod policies;
mod routes;
mod server;
mod upstreams;

impl Reader<'_> {
    /// Warns of an option of a section, if the file has it.
    fn ineffective(&mut self, title: &str, key: &str, why: &str, help: &str) {
        if let Some(place) = self.toml.written(title, key) {
            let message = format!("`{key}` has no effect: {why}");
            self.warning(&place, message, help).label("no effect");
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

    /// Warns of sections and options that nothing in the file uses.
    pub(super) fn check_effects(&mut self, config: &Config, upstreams: &BTreeMap<String, Place>) {
        let asked: BTreeSet<&str> = config.routes.values().flat_map(Route::policies).collect();
        for (name, policy) in &config.policies {
            if asked.contains(policy.speaks_as(name)) {
                self.check_policy(name, policy, config);
            } else {
                let message = format!("policy `{name}` is never called: no route leads to it");
                let help = "name it in a route, or remove its section";
                self.warning(&policy.place, message, help).label("not used");
            }
        }
        for (name, place) in upstreams {
            let mut routes = config.routes.values();
            if !routes.any(|route| route.upstream == *name) {
                let message = format!("no route streams to the upstream `{name}`");
                let help = "name it as the `upstream` of a route, or remove its section";
                self.warning(place, message, help).label("not used");
            }
        }
        for (name, upstream) in &config.upstreams {
            self.check_upstream_options(name, upstream, config);
        }
        let mut upstreams_here = config.upstreams.values();
        if !upstreams_here.any(|upstream| matches!(upstream, Upstream::JetStream(_))) {
            let why = "no upstream keeps streams in NATS";
            let help = "write `kind = \"jetstream\"` in an upstream, or leave the section out";
            self.ineffective("[cluster]", "servers", why, help);
        }
        self.check_known(config, upstreams);
        self.check_registries(config);
        self.check_lists(config);
        self.check_signers(config);
        self.check_destinations(config);
        self.check_server(config);
        for (name, route) in &config.routes {
            self.check_route(name, route, config);
        }
    }

    fn check_lists(&mut self, config: &Config) {
        let mut policies = config.policies.values();
        if policies.any(|policy| policy.grants.contains(&Grant::Lists)) {
            return;
        }
        for (name, list) in &config.lists {
            let message =
                format!("no policy looks into the list `{name}`: none is granted `lists`");
            let help = "grant `lists` to the policy that needs it, or remove the section";
            self.warning(&list.place, message, help).label("not used");
        }
    }

    fn check_signers(&mut self, config: &Config) {
        let mut policies = config.policies.values();
        let is_builtin = |policy: &Policy| matches!(policy.component, Component::Builtin(_));
        if let Signatures::Of(signers) = &config.signatures
            && policies.all(is_builtin)
        {
            for signer in signers.iter() {
                let section = format!("[signers.{}]", signer.name());
                let why = "no component comes from elsewhere, and those that are built in need no signature";
                self.ineffective(&section, "public_key_file", why, "leave the section out");
            }
        }
    }

    fn check_registries(&mut self, config: &Config) {
        let mut policies = config.policies.values();
        let options = ["registry_credentials", "registry_realms"];
        if !policies.any(|policy| matches!(policy.component, Component::Oci(_))) {
            let why = "no component comes from a registry";
            for key in options {
                self.ineffective("the file", key, why, "leave it out");
            }
            return;
        }
        let [credentials, realms] = options;
        if self.toml.written("the file", credentials).is_none() {
            let why = "there are no `registry_credentials`";
            let help = "leave it out, or write `registry_credentials` too";
            self.ineffective("the file", realms, why, help);
        }
    }
}

/// Whether one of these policies, or a candidate for one, has a grant.
fn any_is_granted(
    policies: &BTreeMap<String, Policy>,
    mut names: impl FnMut(&str) -> bool,
    grant: Grant,
) -> bool {
    policies
        .iter()
        .any(|(name, policy)| policy.grants.contains(&grant) && names(policy.speaks_as(name)))
}
