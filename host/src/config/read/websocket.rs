//! `[upstreams.NAME]` with `kind = "websocket"`

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderName, header};

use super::quantity::Zero;
use super::section::Section;
use super::{Reader, Spanned};
use crate::config::{Place, Policy, Route, Upstream, identifies};
use crate::tls::client::Authorities;
use crate::upstream::websocket::reply::Replies;
use crate::upstream::websocket::template::{Fact, Scheme, Template};
use crate::upstream::websocket::{Promise, Token, Trust, WebSocket, header_word};

const REPLIES: [(&str, Replies); 2] = [("expected", Replies::Expected), ("none", Replies::None)];
const RECEIPTS: [(&str, Promise); 3] = [
    ("none", Promise::None),
    ("sent", Promise::Sent),
    ("confirmed", Promise::Confirmed),
];
const TOKENS: [(&str, Token); 2] = [("withhold", Token::Withheld), ("forward", Token::Forwarded)];

/// Headers that the host makes itself, or that carry what a policy checked.
const NOT_FORWARDED: [HeaderName; 11] = [
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
];

impl Reader<'_> {
    pub(super) fn websocket(&mut self, section: &mut Section<'_>) -> Option<Box<WebSocket>> {
        let help = "write the backend's address: `url = \"ws://127.0.0.1:9000/ingest\"`";
        let url = section.required(self, "url", help);
        let place = url.as_ref().map(|url| url.place.clone());
        let template = url.and_then(|url| self.template(&url));
        let mut attribute = |key, default: &str| {
            let named = section.text(self, key);
            named.map_or_else(|| default.to_owned(), |named| named.value)
        };
        let user = attribute("user", "auth.user_id");
        let tenant = attribute("tenant", "auth.tenant_id");
        let attributes = self.attributes(section);
        let forward_headers = self.forward_headers(section);
        let token = section
            .choice(self, "token", &TOKENS)
            .map_or(Token::Withheld, |choice| choice.value);
        let replies = section
            .choice(self, "replies", &REPLIES)
            .map_or(Replies::Expected, |choice| choice.value);
        let receipts = section
            .choice(self, "receipts", &RECEIPTS)
            .map_or(Promise::None, |choice| choice.value);
        let ca_file = section.text(self, "ca_file");
        let max_message = section.memory(self, "max_message", 1024 * 1024);
        let max_buffer = section.memory(self, "max_buffer", 64 * 1024);
        let silence_timeout = section.duration(
            self,
            "silence_timeout",
            Duration::from_secs(30),
            Zero::Refused,
        );
        let url = template?;
        let trust = self.trust(&url, &place?, ca_file)?;
        Some(Box::new(WebSocket {
            url,
            user,
            tenant,
            attributes,
            forward_headers,
            token,
            replies,
            receipts,
            trust,
            max_message,
            max_buffer,
            silence_timeout,
        }))
    }

    fn template(&mut self, url: &Spanned<String>) -> Option<Template> {
        Template::parse(&url.value)
            .map_err(|error| {
                let message = format!("`url` is no address of a backend: {error}");
                let help = "write ws:// or wss://, a host, and a path with places such as \
                            {param.meeting_id}, {query.source} or {auth.user_id}";
                self.error(&url.place, message, help).label("no address");
            })
            .ok()
    }

    /// What becomes a header must be told apart as one.
    fn attributes(&mut self, section: &mut Section<'_>) -> Vec<String> {
        let mut words: BTreeMap<String, String> = ["user", "tenant", "session"]
            .map(|word| (word.to_owned(), word.to_owned()))
            .into();
        let mut attributes = Vec::new();
        for attribute in section.distinct(self, "attributes") {
            let word = header_word(&attribute.value);
            let mistake =
                if !attribute.value.contains('.') || HeaderName::try_from(word.as_str()).is_err() {
                    Some((
                        format!("\"{}\" is not the name of an attribute", attribute.value),
                        "write the policy's name and the attribute's: \"auth.email\"",
                    ))
                } else {
                    words.insert(word, attribute.value.clone()).map(|other| {
                        (
                            format!(
                                "\"{}\" and \"{other}\" would be one header",
                                attribute.value
                            ),
                            "leave one of the two out",
                        )
                    })
                };
            match mistake {
                Some((message, help)) => {
                    self.error(&attribute.place, message, help);
                }
                None => attributes.push(attribute.value),
            }
        }
        attributes
    }

    fn forward_headers(&mut self, section: &mut Section<'_>) -> Vec<HeaderName> {
        let mut names = Vec::new();
        for header in section.distinct(self, "forward_headers") {
            let name = HeaderName::try_from(header.value.as_str()).ok();
            let may = name.filter(|name| {
                !NOT_FORWARDED.contains(name)
                    && !name.as_str().starts_with("x-sluice-")
                    && !name.as_str().starts_with("sec-websocket-")
            });
            match may {
                Some(name) => names.push(name),
                None => {
                    let message = format!("the header \"{}\" cannot be forwarded", header.value);
                    let help = "leave it out: it belongs to this connection, or proves who \
                                somebody is (see `token`)";
                    self.error(&header.place, message, help);
                }
            }
        }
        names
    }

    /// For `wss://`; `None` where there is a mistake.
    fn trust(
        &mut self,
        url: &Template,
        url_place: &Place,
        ca_file: Option<Spanned<String>>,
    ) -> Option<Option<Trust>> {
        if url.scheme() == Scheme::Ws {
            if let Some(file) = ca_file {
                let message = "`ca_file` is for wss://, and this backend is spoken to in the clear";
                let help = "leave it out, or write wss:// in `url`";
                self.error(&file.place, message, help)
                    .label("no meaning here");
            }
            return Some(None);
        }
        let (authorities, place) = match &ca_file {
            Some(file) => (Authorities::File(self.relative(&file.value)), &file.place),
            None => (Authorities::Platform, url_place),
        };
        match Trust::new(&authorities) {
            Ok(trust) => Some(Some(trust)),
            Err(error) => {
                let message = format!("nobody vouches for the backend: {error:#}");
                let help = "give `ca_file`: the certificates, in PEM, of who signed the backend's";
                self.error(place, message, help);
                None
            }
        }
    }

    /// What fills the places of a backend's address must be there on every
    /// route that leads to it.
    pub(super) fn check_backend(
        &mut self,
        name: &str,
        upstream: &Upstream,
        place: &Place,
        routes: &BTreeMap<String, Route>,
    ) {
        let Upstream::WebSocket(backend) = upstream else {
            return;
        };
        let spanned = |value: &String| Spanned {
            value: value.clone(),
            place: place.clone(),
        };
        let mut parameters = Vec::new();
        let mut attributes: Vec<_> = backend.attributes.iter().map(spanned).collect();
        for fact in backend.url.facts() {
            match fact {
                Fact::Param(param) => parameters.push(spanned(param)),
                Fact::Attribute(attribute) => attributes.push(spanned(attribute)),
                Fact::Query(_) => {}
            }
        }
        self.check_upstream(name, &parameters, &attributes, routes);
    }

    /// Who a client is comes from policies that verify tokens, and from no
    /// other.
    pub(super) fn check_identity(
        &mut self,
        name: &str,
        upstream: &Upstream,
        place: &Place,
        policies: &BTreeMap<String, Policy>,
        routes: &BTreeMap<String, Route>,
    ) {
        let Upstream::WebSocket(backend) = upstream else {
            return;
        };
        for (option, attribute) in [("user", &backend.user), ("tenant", &backend.tenant)] {
            let owner = attribute.split('.').next().unwrap_or_default();
            let asks = |route: &&Route| {
                let mut asked = route.on_connect.iter().chain(&route.on_handshake);
                route.upstream == name && asked.any(|policy| policy == owner)
            };
            if routes.values().any(|route| asks(&route)) && !identifies(policies, owner) {
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
    }
}
