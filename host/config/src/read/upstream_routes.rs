//! What upstreams need of the routes that lead to them.

use std::collections::BTreeMap;

use super::Reader;
use super::references::Reference;
use crate::settings::Route;
use crate::toml::Spanned;
use base::diagnostics::Place;
use session::handshake::HandshakeMode;
use upstream::settings::Upstream;
use upstream::websocket::OnLoss;

impl Reader<'_> {
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
            let asked = route.admission();
            let policies: Vec<&str> = asked.map(String::as_str).collect();
            for parameter in parameters {
                refer(&title, parameter).check_parameter(
                    route_name,
                    route,
                    &mut self.toml.diagnostics(),
                );
            }
            for attribute in attributes {
                let attribute = refer(&title, attribute);
                attribute.check_attribute(
                    route_name,
                    &policies,
                    "into",
                    &mut self.toml.diagnostics(),
                );
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
            Upstream::JetStream(_) => (
                "keeps streams in NATS",
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
}

fn refer<'a>(title: &'a str, to: &'a Spanned<String>) -> Reference<'a> {
    Reference {
        title,
        name: &to.value,
        place: &to.place,
    }
}
