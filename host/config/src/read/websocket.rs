//! `[upstreams.NAME]` with `kind = "websocket"`

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::uri::Authority;
use axum::http::{HeaderName, header};

use super::quantity::Zero;
use super::recordings::OF_RECORDINGS;
use super::section::Section;
use super::{Reader, Spanned};
use crate::settings::{Route, UpstreamAttribute};
use base::credentials;
use base::diagnostics::Place;
use base::tls::client::{Authorities, Roots};
use policy::settings::{Policy, identifies};
use upstream::fact::Fact;
use upstream::settings::Upstream;
use upstream::wav::{Recordings, layout};
use upstream::websocket::backends::Rest;
use upstream::websocket::reply::Replies;
use upstream::websocket::template::{Scheme, Template};
use upstream::websocket::{Hold, OnLoss, Promise, Replay, Token, Trust, WebSocket, header_word};

const REPLIES: [(&str, Replies); 2] = [("expected", Replies::Expected), ("none", Replies::None)];
const RECEIPTS: [(&str, Promise); 4] = [
    ("none", Promise::None),
    ("sent", Promise::Sent),
    ("confirmed", Promise::Confirmed),
    ("recorded", Promise::Recorded),
];
const REPLAYS: [(&str, Replay); 2] = [
    ("at-least-once", Replay::AtLeastOnce),
    ("at-most-once", Replay::AtMostOnce),
];
/// What of a stream is done with besides relaying it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Also {
    Nothing,
    Recorded,
}
const TEES: [(&str, Also); 2] = [("none", Also::Nothing), ("wav", Also::Recorded)];
/// What becomes of a stream whose backend is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    Fails,
    IsHeld,
}
const LOSSES: [(&str, Loss); 2] = [("fail", Loss::Fails), ("hold", Loss::IsHeld)];
/// Options that say how a stream is held.
const OF_HOLD: [&str; 5] = [
    "replay",
    "hold_timeout",
    "hold_memory",
    "hold_file",
    "hold_files",
];
const TOKENS: [(&str, Token); 2] = [("withhold", Token::Withheld), ("forward", Token::Forwarded)];

/// Who a client is, where the built-in policy says it.
const USER: &str = "auth.user_id";
const TENANT: &str = "auth.tenant_id";

/// Headers that the host makes itself, or that carry what a policy checked.
const NOT_FORWARDED: [HeaderName; 8] = [
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::EXPECT,
];

impl Reader<'_> {
    pub(super) fn websocket(&mut self, section: &mut Section<'_>) -> Option<Box<WebSocket>> {
        let help = "write the backend's address: `url = \"ws://127.0.0.1:9000/ingest\"`";
        let url = section.required(self, "url", help);
        let place = url.as_ref().map(|url| url.place.clone());
        let template = url.and_then(|url| self.template(&url));
        let addresses = self.addresses(section);
        let rest_place = section.place_of(self, "rest");
        let rest = Rest {
            after: section.count(self, "rest_after", 5, Zero::Allowed),
            lasts: section.duration(self, "rest", Duration::from_secs(5), Zero::Refused),
        };
        if rest.after == 0 && rest.lasts != Duration::from_secs(5) {
            let message = "`rest` has no effect: with `rest_after = 0` no address is left alone";
            self.warning(&rest_place, message, "leave one of the two out")
                .label("no effect");
        }
        let warm_connections = section.count(self, "warm_connections", 2, Zero::Allowed);
        let mut attribute = |key, default: &str| {
            let named = section.text(self, key);
            named.map_or_else(|| default.to_owned(), |named| named.value)
        };
        let user = attribute("user", USER);
        let tenant = attribute("tenant", TENANT);
        let attributes = self.attributes(section);
        let forward_headers = self.forward_headers(section);
        let token = section
            .choice(self, "token", &TOKENS)
            .map_or(Token::Withheld, |choice| choice.value);
        let replies = section
            .choice(self, "replies", &REPLIES)
            .map_or(Replies::Expected, |choice| choice.value);
        let tee = self.tee(section);
        let receipts = self.receipts(section, tee.as_ref());
        let on_loss = self.on_loss(section, receipts);
        if tee.is_none()
            && on_loss == OnLoss::Fail
            && let Some((place, _)) = section.take(self, "min_free")
        {
            let message = "`min_free` is for streams that are recorded or held";
            let help = "leave it out, or write `tee = \"wav\"` or `on_loss = \"hold\"`";
            self.error(&place, message, help).label("no meaning here");
        }
        let min_free = self.min_free(section);
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
            addresses,
            rest,
            warm_connections,
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
            on_loss,
            tee,
            min_free,
        }))
    }

    /// Where streams are recorded as well.
    fn tee(&mut self, section: &mut Section<'_>) -> Option<Recordings> {
        let tee = section.choice(self, "tee", &TEES);
        match tee.map_or(Also::Nothing, |tee| tee.value) {
            Also::Recorded => self.recordings(section),
            Also::Nothing => {
                for option in OF_RECORDINGS {
                    if let Some((place, _)) = section.take(self, option) {
                        let message = format!("`{option}` is for streams that are recorded");
                        let help = "leave it out, or write `tee = \"wav\"`";
                        self.error(&place, message, help).label("no meaning here");
                    }
                }
                None
            }
        }
    }

    fn receipts(&mut self, section: &mut Section<'_>, tee: Option<&Recordings>) -> Promise {
        let Some(receipts) = section.choice(self, "receipts", &RECEIPTS) else {
            return Promise::None;
        };
        if receipts.value == Promise::Recorded && tee.is_none() {
            let message = "`receipts` promises a recording, and there is none";
            let help = "write `tee = \"wav\"` as well, or another promise";
            self.error(&receipts.place, message, help);
        }
        receipts.value
    }

    /// What becomes of a stream whose backend is lost. What a backend gets that
    /// came back must be known beforehand: it may be something twice, or
    /// something never.
    fn on_loss(&mut self, section: &mut Section<'_>, receipts: Promise) -> OnLoss {
        let on_loss = section.choice(self, "on_loss", &LOSSES);
        let place = on_loss.as_ref().map(|choice| choice.place.clone());
        if on_loss.is_none_or(|choice| choice.value == Loss::Fails) {
            for option in OF_HOLD {
                if let Some((place, _)) = section.take(self, option) {
                    let message = format!("`{option}` is for streams that are held");
                    let help = "leave it out, or write `on_loss = \"hold\"`";
                    self.error(&place, message, help).label("no meaning here");
                }
            }
            return OnLoss::Fail;
        }
        let replay = section.choice(self, "replay", &REPLAYS);
        let replay = match (receipts, replay) {
            (Promise::Confirmed, None) => Replay::Confirmed,
            (Promise::Confirmed, Some(replay)) => {
                let message = "`replay` is for backends that confirm nothing";
                let help = "leave it out: with `receipts = \"confirmed\"` a stream goes on behind \
                            what was confirmed";
                self.error(&replay.place, message, help)
                    .label("no meaning here");
                Replay::Confirmed
            }
            (_, Some(replay)) => replay.value,
            (_, None) => {
                let message = "nobody knows what a backend has that confirms nothing";
                let help = "write `replay = \"at-least-once\"` (it may get something twice), \
                            `replay = \"at-most-once\"` (it may miss something), or \
                            `receipts = \"confirmed\"` if it confirms";
                self.error(
                    &place.unwrap_or_else(|| section.place.clone()),
                    message,
                    help,
                )
                .label("a stream is held here");
                Replay::AtMostOnce
            }
        };
        let timeout = Duration::from_secs(30);
        OnLoss::Hold(Hold {
            replay,
            timeout: section.duration(self, "hold_timeout", timeout, Zero::Refused),
            memory: section.memory(self, "hold_memory", 256 * 1024),
            file: section.size_or_none(self, "hold_file", 16 * 1024 * 1024),
            files: section.size(self, "hold_files", 10 * 1024 * 1024 * 1024),
        })
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

    /// Where a backend listens, as often as it is there.
    fn addresses(&mut self, section: &mut Section<'_>) -> Vec<(String, u16)> {
        let mut addresses = Vec::new();
        for address in section.distinct(self, "addresses") {
            let parsed: Option<Authority> = address.value.parse().ok();
            let parsed =
                parsed.filter(|parsed| !address.value.contains('@') && !parsed.host().is_empty());
            match parsed.and_then(|parsed| Some((parsed.host().to_owned(), parsed.port_u16()?))) {
                // An IPv6 address is in brackets in front of a port, and nowhere else.
                Some((host, port)) => {
                    let host = host.trim_start_matches('[').trim_end_matches(']');
                    addresses.push((host.to_owned(), port));
                }
                None => {
                    let message = format!("\"{}\" is not a host and a port", address.value);
                    let help =
                        "write \"10.0.0.1:9000\", \"[::1]:9000\" or \"backend-1.internal:9000\"";
                    self.error(&address.place, message, help);
                }
            }
        }
        addresses
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
                    && !credentials::is_header(name)
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
            Some(file) => (Authorities::File(self.file(&file.value)), &file.place),
            None => (Authorities::Platform, url_place),
        };
        let trust = Roots::read(&authorities).and_then(|roots| {
            let passed_over = roots.passed_over;
            Ok((Trust::new(roots)?, passed_over))
        });
        match trust {
            Ok((trust, 0)) => Some(Some(trust)),
            Ok((trust, passed_over)) => {
                let message = format!(
                    "`ca_file` has certificates that cannot be used ({passed_over}); the others are"
                );
                let help = "remove what is damaged, or copy it again from who gave it out";
                self.warning(place, message, help);
                Some(Some(trust))
            }
            Err(error) => {
                let message = format!("nobody vouches for the backend: {error:#}");
                let help = "give `ca_file`: the certificates, in PEM, of who signed the backend's";
                self.error(place, message, help);
                None
            }
        }
    }

    /// What fills the places of a backend's address, or names the folders of recordings, must be
    /// there on every route that leads to it. Tells the attributes among that: whether somebody
    /// leaves them, the policies say when they are loaded.
    pub(super) fn check_backend(
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
            layout::Place::Fact(fact) => Some(fact),
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

    /// Who a client is comes from policies that verify tokens, and from no
    /// other. Tells the attributes that this is about.
    pub(super) fn check_identity(
        &mut self,
        name: &str,
        upstream: &Upstream,
        place: &Place,
        policies: &BTreeMap<String, Policy>,
        routes: &BTreeMap<String, Route>,
    ) -> Vec<UpstreamAttribute> {
        let mut told = Vec::new();
        let Upstream::WebSocket(backend) = upstream else {
            return told;
        };
        for (option, attribute, default) in [
            ("user", &backend.user, USER),
            ("tenant", &backend.tenant, TENANT),
        ] {
            let owner = attribute.split('.').next().unwrap_or_default();
            let asks = |route: &&Route| {
                let mut asked = route.on_connect.iter().chain(&route.on_handshake);
                route.upstream == name && asked.any(|policy| policy == owner)
            };
            let asked = routes.values().any(|route| asks(&route));
            let leads_here = routes.values().any(|route| route.upstream == name);
            // Without the policies of the default there is nobody to tell of, which is usual.
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
                told.push(UpstreamAttribute {
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
        told
    }
}
