//! Checks of the facts that a backend gets: whether they exist, and whether they can be trusted.

use std::collections::BTreeMap;

use super::super::Reader;
use super::{TENANT, USER};
use crate::settings::{Route, UpstreamAttribute};
use crate::toml::Spanned;
use base::diagnostics::Place;
use policy::settings::{Policy, identifies};
use upstream::fact::Fact;
use upstream::settings::Upstream;
use upstream::wav::layout;

impl Reader<'_> {
    /// Checks that every route to an upstream provides the facts in its URL and in the names of its
    /// folders. Returns the attributes among them: the policies declare whether they leave these
    /// when they are loaded.
    pub(in crate::read) fn check_backend(
        &mut self,
        name: &str,
        upstream: &Upstream,
        place: &Place,
        routes: &BTreeMap<String, Route>,
    ) -> Vec<UpstreamAttribute> {
        let mut facts: Vec<&Fact> = Vec::new();
        let mut attributes = Vec::new();
        let spanned = |value: &String| Spanned {
            value: value.clone(),
            place: place.clone(),
        };
        if let Upstream::WebSocket(backend) = upstream {
            facts.extend(backend.url.facts());
            attributes.extend(backend.attributes.iter().map(spanned));
        }
        let places = upstream.recordings().into_iter();
        let places = places.flat_map(|recordings| recordings.layout.places());
        facts.extend(places.filter_map(|place| match place {
            layout::FolderName::Fact(fact) => Some(fact),
            _ => None,
        }));
        let mut parameters = Vec::new();
        for fact in facts {
            match fact {
                Fact::Param(param) => parameters.push(spanned(param)),
                Fact::Attribute(attribute) => attributes.push(spanned(attribute)),
                Fact::Query(_) => {}
            }
        }
        self.check_upstream(name, &parameters, &attributes, routes);
        let attributes = attributes.into_iter();
        let needed = attributes.map(|attribute| UpstreamAttribute {
            upstream: name.to_owned(),
            name: attribute.value,
            identity: None,
            place: attribute.place,
        });
        needed.collect()
    }

    /// Checks that the client's identity comes from policies that verify tokens. Returns the
    /// attributes that it is made of.
    pub(in crate::read) fn check_identity(
        &mut self,
        name: &str,
        upstream: &Upstream,
        place: &Place,
        policies: &BTreeMap<String, Policy>,
        routes: &BTreeMap<String, Route>,
    ) -> Vec<UpstreamAttribute> {
        let mut identity = Vec::new();
        let Upstream::WebSocket(backend) = upstream else {
            return identity;
        };
        for (option, attribute, default) in [
            ("user", &backend.user, USER),
            ("tenant", &backend.tenant, TENANT),
        ] {
            let owner = attribute.split('.').next().unwrap_or_default();
            let asks = |route: &&Route| {
                let mut asked = route.admission();
                route.upstream == name && asked.any(|policy| policy == owner)
            };
            let asked = routes.values().any(|route| asks(&route));
            let leads_here = routes.values().any(|route| route.upstream == name);
            // If no route uses the policies of the default, there is no identity to report, which
            // is usual.
            if !asked && leads_here && attribute != default {
                let message = format!(
                    "[upstreams.{name}] never tells the `{option}`: no route to it asks a policy \
                     \"{owner}\", which would leave `{attribute}`"
                );
                let help = format!(
                    "name an attribute in `{option}` that a policy of the route leaves: \"{default}\""
                );
                self.error(place, message, help).label("never there");
            } else if attribute != default {
                identity.push(UpstreamAttribute {
                    upstream: name.to_owned(),
                    name: attribute.clone(),
                    identity: Some(option),
                    place: place.clone(),
                });
            }
            if asked && !identifies(policies, owner) {
                let message = format!(
                    "[upstreams.{name}] would tell who a client is by `{attribute}`, \
                     and policy \"{owner}\" does not verify tokens"
                );
                let help = format!(
                    "name an attribute of a policy that is granted `jwt` in `{option}`, \
                     or grant it to \"{owner}\" and to whatever is tried out in its place; \
                     what proves nothing may go into `attributes`"
                );
                self.error(place, message, help).label("may be forged");
            }
        }
        identity
    }
}
