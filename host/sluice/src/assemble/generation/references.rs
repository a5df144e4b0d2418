//! What policies declare that their options refer to, and whether it is there.
//!
//! Only a policy knows what its options mean, and only the gateway knows the whole configuration.
//! So a policy declares key sets, path parameters and attributes when it is loaded, and they are
//! looked for here.

use std::collections::BTreeMap;

use base::diagnostics::{Diagnostics, Place};
use base::text;
use config::{Config, Reference, Route, UpstreamAttribute};
use gateway::routes::Policies;
use keys::settings::KeySource;
use policy::references::{Ineffective, ReferenceKind, References};
use policy::settings::{self, Grant};
use serde_json::Value;

/// Reports references that lead nowhere. Where there is no mistake, warns of options that have no
/// effect and of key sets that nothing refers to.
pub(super) fn report(config: &Config, declared: &Declared<'_>, diagnostics: &mut Diagnostics) {
    let leaving = Leaving { config, declared };
    for (name, references) in declared {
        let settings = &config.policies[*name];
        for reference in &references.named {
            let refers = Reference {
                title: &format!("[policies.{name}]"),
                name: &reference.name,
                place: settings.place_for(reference.tenant.as_deref(), &reference.pointer),
            };
            match reference.kind {
                ReferenceKind::KeySet => {
                    refers.check_key_set(&config.declared.key_sets, diagnostics);
                }
                ReferenceKind::List => {
                    refers.check_list(&config.declared.lists, diagnostics);
                }
                ReferenceKind::Destination => {
                    let declared = &config.declared.destinations;
                    refers.check_destination(declared, &settings.destinations, diagnostics);
                }
                ReferenceKind::Param => {
                    for (route_name, route, _) in asking(config, name) {
                        refers.check_parameter(route_name, route, diagnostics);
                    }
                }
                ReferenceKind::Attribute => {
                    leaving.check(&refers, diagnostics);
                    leaving.check_order(&refers, name, diagnostics);
                }
            }
        }
    }
    for (name, policy) in &config.policies {
        if let Some(overlay) = policy.tenants.overlays.values().next() {
            leaving.check_tenants(name, &overlay.place, diagnostics);
        }
    }
    for attribute in &config.upstream_attributes {
        leaving.check_upstream(attribute, diagnostics);
    }
    // Of what is broken, nobody need be told that it has no effect.
    if diagnostics.is_empty() {
        for (name, references) in declared {
            let settings = &config.policies[*name];
            if is_asked(config, settings.speaks_as(name)) {
                for option in &references.ineffective {
                    warn_of(option, None, settings, diagnostics);
                }
                for (tenant, option) in &references.ineffective_for {
                    warn_of(option, Some(tenant), settings, diagnostics);
                }
            }
        }
        report_unused_key_sets(config, diagnostics);
    }
}

/// What the policies that could be loaded declared, by their names in the configuration.
type Declared<'a> = BTreeMap<&'a str, &'a References>;

/// What these policies declared when they were loaded.
pub(super) fn declared(policies: &Policies) -> Declared<'_> {
    let policies = policies.iter();
    let loaded = policies.filter_map(|(name, policy)| Some((name, policy.as_ref()?)));
    loaded
        .map(|(name, policy)| (name.as_str(), policy.references()))
        .collect()
}

/// The routes that ask a policy, with the policies that each asks before it.
fn asking<'a>(
    config: &'a Config,
    policy: &str,
) -> impl Iterator<Item = (&'a str, &'a Route, Vec<&'a str>)> {
    config.routes.iter().filter_map(move |(name, route)| {
        let turn = route.policies().position(|named| named == policy)?;
        Some((name.as_str(), route, route.policies().take(turn).collect()))
    })
}

fn is_asked(config: &Config, policy: &str) -> bool {
    let mut routes = config.routes.values();
    routes.any(|route| route.policies().any(|named| named == policy))
}

/// Who leaves which attributes.
struct Leaving<'a> {
    config: &'a Config,
    declared: &'a Declared<'a>,
}

impl Leaving<'_> {
    /// What the policy of an attribute leaves, in full names, if the attribute is not among it.
    /// `None` also where nobody knows: the policy did not say, or another is tried out in its name.
    fn instead_of(&self, attribute: &str) -> Option<String> {
        let (owner, wanted) = attribute.split_once('.')?;
        let mut all = self.config.policies.iter();
        let replaced = all.any(|(name, policy)| name != owner && policy.speaks_as(name) == owner);
        let leaves = &self.declared.get(owner)?.leaves;
        let known = !replaced && !leaves.is_empty();
        let missing = known && !leaves.iter().any(|name| name == wanted);
        missing.then(|| {
            let leaves = leaves.iter().map(|name| format!("`{owner}.{name}`"));
            leaves.collect::<Vec<_>>().join(", ")
        })
    }

    /// Reports an attribute that no policy leaves.
    fn check(&self, refers: &Reference<'_>, diagnostics: &mut Diagnostics) {
        if let Some(known) = self.instead_of(refers.name) {
            let message = format!(
                "{} needs `{}`, which no policy leaves",
                refers.title, refers.name
            );
            diagnostics
                .error(refers.place, message, format!("there are: {known}"))
                .label("nobody sets this");
        }
    }

    /// Reports an attribute whose policy is not asked before `policy`, route by route.
    fn check_order(&self, refers: &Reference<'_>, policy: &str, diagnostics: &mut Diagnostics) {
        let owner = refers.name.split('.').next().unwrap_or_default();
        let config = self.config;
        // Routes name no policy whose section has mistakes, and those are reported.
        if config.declared.policies.contains(owner) && !config.policies.contains_key(owner) {
            return;
        }
        for (route_name, route, earlier) in asking(config, policy) {
            let where_to = if route.on_connect.iter().any(|named| named == policy) {
                format!("before \"{policy}\" in")
            } else {
                "into".to_owned()
            };
            refers.check_attribute(route_name, &earlier, &where_to, diagnostics);
        }
    }

    /// Reports routes where it is not known which tenant a connection has when a policy is asked
    /// that has values for tenants.
    fn check_tenants(&self, name: &str, place: &Place, diagnostics: &mut Diagnostics) {
        let config = self.config;
        let speaks_as = config.policies[name].speaks_as(name);
        for (route_name, _, earlier) in asking(config, speaks_as) {
            let tells = |policy: &&str| {
                settings::identifies(&config.policies, policy)
                    && self.instead_of(&format!("{policy}.tenant_id")).is_none()
            };
            if earlier.iter().any(tells) {
                continue;
            }
            let message = format!(
                "[policies.{name}] has values for tenants, and in [routes.{route_name}] nobody knows the \
                 tenant when it is asked"
            );
            let help = format!(
                "ask a policy before \"{speaks_as}\" that verifies tokens and leaves `tenant_id`, such as \
                 builtin:auth"
            );
            diagnostics.error(place, message, help).label("never used");
        }
    }

    /// Reports an attribute of an upstream that no policy leaves.
    fn check_upstream(&self, attribute: &UpstreamAttribute, diagnostics: &mut Diagnostics) {
        let UpstreamAttribute {
            upstream,
            name,
            identity,
            place,
        } = attribute;
        let title = format!("[upstreams.{upstream}]");
        let Some(option) = identity else {
            let title = &title;
            self.check(&Reference { title, name, place }, diagnostics);
            return;
        };
        if let Some(known) = self.instead_of(name) {
            let owner = name.split('.').next().unwrap_or_default();
            let message =
                format!("{title} never tells the `{option}`: \"{owner}\" leaves no `{name}`");
            diagnostics
                .error(place, message, format!("it leaves: {known}"))
                .label("never there");
        }
    }
}

/// Warns of an option without effect, in the section of all or of a tenant.
fn warn_of(
    option: &Ineffective,
    tenant: Option<&str>,
    settings: &settings::Policy,
    diagnostics: &mut Diagnostics,
) {
    let Ineffective { pointer, why, help } = option;
    let of = tenant.map_or_else(String::new, |tenant| {
        format!(" for the tenant \"{}\"", text::clean(tenant, 128))
    });
    let message = format!("`{}` has no effect{of}: {why}", in_words(pointer));
    diagnostics
        .warning(settings.place_for(tenant, pointer), message, help)
        .label("no effect");
}

/// A JSON pointer as an operator writes it: `rules.0.user`.
fn in_words(pointer: &str) -> String {
    let steps = pointer.split('/').skip(1);
    let steps = steps.map(|step| step.replace("~1", "/").replace("~0", "~"));
    let steps: Vec<String> = steps.collect();
    if steps.is_empty() {
        return "config".to_owned();
    }
    steps.join(".")
}

/// Warns of key sets that no policy refers to, and no other key set. A policy that declares nothing
/// may name one anywhere in its configuration.
fn report_unused_key_sets(config: &Config, diagnostics: &mut Diagnostics) {
    let is_chosen = |name: &String| {
        let mut sets = config.key_sets.values();
        sets.any(|set| matches!(&set.source, KeySource::ByIssuer(names) if names.contains(name)))
    };
    for (name, set) in &config.key_sets {
        let verifiers = config.policies.values();
        let mut verifiers = verifiers.filter(|policy| policy.grants.contains(&Grant::Jwt));
        let is_named = verifiers.any(|policy| values(policy).any(|value| says(value, name)));
        if !is_named && !is_chosen(name) {
            let message = format!("no policy verifies tokens with the key set `{name}`");
            let help = "name it in the section of a policy that is granted `jwt`, or remove it";
            diagnostics
                .warning(&set.place, message, help)
                .label("not used");
        }
    }
}

/// Values of a policy's configuration, for all tenants and for each.
fn values(policy: &settings::Policy) -> impl Iterator<Item = &Value> {
    let overlays = policy.tenants.overlays.values();
    let overlays = overlays.flat_map(|overlay| overlay.config.values());
    policy.config.values().chain(overlays)
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

#[cfg(test)]
mod tests;
