//! What the configurations of the built-in policies refer to.
//!
//! A policy checks its own section, but it cannot see the rest of the file. So
//! a key set, a path parameter or an earlier policy that is not there is found
//! here, for the policies that are part of this binary.

use std::collections::{BTreeMap, BTreeSet};

use toml_span::value::{Table, Value};

use super::paths::parameters;
use super::{Reader, Spanned};
use crate::settings::Route;
use base::diagnostics::Place;
use policy::settings::{Component, Policy};
use session::handshake::HandshakeMode;
use upstream::settings::Upstream;
use upstream::websocket::OnLoss;

/// The references of one policy.
pub(super) struct References {
    policy: String,
    key_set: Option<Spanned<String>>,
    parameters: Vec<Spanned<String>>,
    /// By their full names: `auth.tenant_id`.
    attributes: Vec<Spanned<String>>,
}

impl References {
    pub(super) fn new(policy: String) -> Self {
        Self {
            policy,
            key_set: None,
            parameters: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// Finds the references in the configuration of a built-in policy. What
    /// has another shape than expected is for the policy to complain about.
    pub(super) fn collect(&mut self, reader: &Reader<'_>, builtin: &str, config: &Table<'_>) {
        let text = |value: &Value<'_>| {
            Some(Spanned {
                value: value.as_str()?.to_owned(),
                place: reader.place(value.span),
            })
        };
        match builtin {
            "auth" => {
                self.key_set = config.get("key_set").and_then(text);
                let claims = config.get("path_claims").and_then(Value::as_table);
                self.parameters = claims
                    .into_iter()
                    .flat_map(Table::values)
                    .filter_map(text)
                    .collect();
            }
            "duplicate" => {
                let facts = config
                    .get("key")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten();
                let facts = facts.chain(config.get("user")).filter_map(text);
                facts.for_each(|fact| self.fact(fact));
            }
            _ => {}
        }
    }

    fn fact(&mut self, fact: Spanned<String>) {
        match fact.value.split_once('.') {
            Some(("param", name)) => self.parameters.push(Spanned {
                value: name.to_owned(),
                place: fact.place,
            }),
            Some(("query" | "header", _)) | None => {}
            Some(_) => self.attributes.push(fact),
        }
    }
}

/// What the built-in auth policy leaves for others.
const LEFT_BY_AUTH: [&str; 3] = ["email", "user_id", "tenant_id"];

/// What the owner of an attribute leaves, where that is known and the attribute is not among it.
pub(super) fn unknown_attribute(
    attribute: &str,
    policies: &BTreeMap<String, Policy>,
) -> Option<String> {
    let (owner, wanted) = attribute.split_once('.')?;
    let is_auth = |policy: &Policy| policy.component == Component::Builtin("auth".to_owned());
    let replaced = |policy: &Policy| {
        let trial = policy.trial.as_ref();
        trial.and_then(|trial| trial.stands_for.as_deref()) == Some(owner)
    };
    let known = is_auth(policies.get(owner)?) && !policies.values().any(replaced);
    let missing = known && !LEFT_BY_AUTH.contains(&wanted);
    missing.then(|| {
        LEFT_BY_AUTH
            .map(|name| format!("`{owner}.{name}`"))
            .join(", ")
    })
}

impl Reader<'_> {
    pub(super) fn check_references(
        &mut self,
        references: &[References],
        key_sets: &BTreeSet<String>,
        policies: &BTreeMap<String, Policy>,
        routes: &BTreeMap<String, Route>,
    ) {
        for refers in references {
            for attribute in &refers.attributes {
                self.check_left(
                    &format!("[policies.{}]", refers.policy),
                    attribute,
                    policies,
                );
            }
            if let Some(key_set) = &refers.key_set {
                self.check_reference(key_set, "key set", "key_sets", key_sets);
            }
            for (name, route) in routes {
                let order: Vec<&str> = route
                    .on_connect
                    .iter()
                    .chain(&route.on_handshake)
                    .map(String::as_str)
                    .collect();
                let Some(turn) = order.iter().position(|policy| *policy == refers.policy) else {
                    continue;
                };
                let title = format!("[policies.{}]", refers.policy);
                for parameter in &refers.parameters {
                    self.check_parameter(&title, parameter, name, route);
                }
                for attribute in &refers.attributes {
                    let where_to = format!("before \"{}\" in", refers.policy);
                    self.check_attribute(&title, attribute, name, &order[..turn], &where_to);
                }
            }
        }
    }

    /// Of the address and the headers of the upstream `name`: every policy of a
    /// route that leads to it was asked before.
    pub(super) fn check_upstream(
        &mut self,
        name: &str,
        parameters: &[Spanned<String>],
        attributes: &[Spanned<String>],
        routes: &BTreeMap<String, Route>,
    ) {
        let title = format!("[upstreams.{name}]");
        for (route_name, route) in routes.iter().filter(|(_, route)| route.upstream == name) {
            let policies: Vec<&str> = route
                .on_connect
                .iter()
                .chain(&route.on_handshake)
                .map(String::as_str)
                .collect();
            for parameter in parameters {
                self.check_parameter(&title, parameter, route_name, route);
            }
            for attribute in attributes {
                self.check_attribute(&title, attribute, route_name, &policies, "into");
            }
        }
    }

    /// A recording takes its format from the handshake of its stream, and a
    /// backend that comes back gets that again.
    pub(super) fn check_handshakes(
        &mut self,
        name: &str,
        upstream: &Upstream,
        place: &Place,
        routes: &BTreeMap<String, Route>,
    ) {
        let (does, help) = match upstream {
            Upstream::Wav { .. } => (
                "records streams",
                "write `handshake = \"ingest.v1\"` there, or give it another upstream",
            ),
            Upstream::WebSocket(backend)
                if backend.tee.is_some() || backend.on_loss != OnLoss::Fail =>
            {
                (
                    "records or holds streams",
                    "leave `tee` and `on_loss` out, or write `handshake = \"ingest.v1\"` there",
                )
            }
            Upstream::WebSocket(_) | Upstream::Echo | Upstream::Discard => return,
        };
        let plain = routes
            .iter()
            .filter(|(_, route)| route.upstream == name && route.handshake == HandshakeMode::None);
        for (route, _) in plain {
            let message = format!(
                "[upstreams.{name}] {does}, and those of [routes.{route}] have no handshake"
            );
            self.error(place, message, help);
        }
    }

    fn check_parameter(
        &mut self,
        title: &str,
        parameter: &Spanned<String>,
        name: &str,
        route: &Route,
    ) {
        let wanted = &parameter.value;
        let lacks = |path: &&String| !parameters(path).any(|name| name == wanted);
        if let Some(path) = route.paths.iter().find(lacks) {
            let message = format!(
                "{title} needs the path parameter `{wanted}`, and [routes.{name}] has a path without it"
            );
            let help = format!("name a parameter that \"{path}\" has, or put {{{wanted}}} into it");
            self.error(&parameter.place, message, help)
                .label("no such parameter");
        }
    }

    /// Whether the policy that is to leave an attribute does so, where that is known.
    pub(super) fn check_left(
        &mut self,
        title: &str,
        attribute: &Spanned<String>,
        policies: &BTreeMap<String, Policy>,
    ) {
        if let Some(known) = unknown_attribute(&attribute.value, policies) {
            let message = format!(
                "{title} needs `{}`, which no policy leaves",
                attribute.value
            );
            self.error(&attribute.place, message, format!("there are: {known}"))
                .label("nobody sets this");
        }
    }

    fn check_attribute(
        &mut self,
        title: &str,
        attribute: &Spanned<String>,
        route: &str,
        earlier: &[&str],
        where_to: &str,
    ) {
        let owner = attribute.value.split('.').next().unwrap_or_default();
        if !earlier.contains(&owner) {
            let message = format!(
                "{title} needs `{}`, and in [routes.{route}] no policy \"{owner}\" is asked before it",
                attribute.value
            );
            let help = format!("put \"{owner}\" {where_to} the route's `on_connect`");
            self.error(&attribute.place, message, help)
                .label("nobody sets this");
        }
    }
}
