//! `[upstreams.NAME]` with `kind = "websocket"`

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::uri::Authority;
use axum::http::{HeaderName, header};

use super::Reader;
use super::recordings::OF_RECORDINGS;
use crate::toml::{Section, Spanned, Zero};
use base::credentials;
use base::diagnostics::Place;
use base::tls::client::{Authorities, Roots};
use upstream::wav::Recordings;
use upstream::websocket::backends::Rest;
use upstream::websocket::reply::Replies;
use upstream::websocket::template::{Template, UrlScheme};
use upstream::websocket::{OnLoss, Promise, TokenForwarding, Trust, WebSocket, header_word};

mod facts;
mod on_loss;

const REPLIES: [(&str, Replies); 2] = [("expected", Replies::Expected), ("none", Replies::None)];
const RECEIPTS: [(&str, Promise); 4] = [
    ("none", Promise::None),
    ("sent", Promise::Sent),
    ("confirmed", Promise::Confirmed),
    ("recorded", Promise::Recorded),
];
/// Further processing of a stream, beside the relay.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Also {
    Nothing,
    Recorded,
}
const TEES: [(&str, Also); 2] = [("none", Also::Nothing), ("wav", Also::Recorded)];
const TOKENS: [(&str, TokenForwarding); 2] = [
    ("withhold", TokenForwarding::Withheld),
    ("forward", TokenForwarding::Forwarded),
];

/// Default attributes of the client's identity, which the built-in policy sets.
const USER: &str = "auth.user_id";
const TENANT: &str = "auth.tenant_id";

/// Headers that the gateway makes itself, or that carry what a policy has checked.
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
        let url = section.required("url", help);
        let place = url.as_ref().map(|url| url.place.clone());
        let template = url.and_then(|url| self.template(&url));
        let addresses = self.addresses(section);
        let rest_place = section.place_of("rest");
        let rest = Rest {
            after: section.count("rest_after", 5, Zero::Allowed),
            lasts: section.duration("rest", Duration::from_secs(5), Zero::Refused),
        };
        if rest.after == 0 && rest.lasts != Duration::from_secs(5) {
            let message = "`rest` has no effect: with `rest_after = 0` no address rests";
            self.warning(&rest_place, message, "leave one of the two out")
                .label("no effect");
        }
        let warm_connections = section.count("warm_connections", 2, Zero::Allowed);
        let mut attribute = |key, default: &str| {
            let named = section.text(key);
            named.map_or_else(|| default.to_owned(), |named| named.value)
        };
        let user = attribute("user", USER);
        let tenant = attribute("tenant", TENANT);
        let attributes = self.attributes(section);
        let forward_headers = self.forward_headers(section);
        let token = section
            .choice("token", &TOKENS)
            .map_or(TokenForwarding::Withheld, |choice| choice.value);
        let replies = section
            .choice("replies", &REPLIES)
            .map_or(Replies::Expected, |choice| choice.value);
        let tee = self.tee(section);
        let receipts = self.receipts(section, tee.as_ref());
        let on_loss = self.on_loss(section, receipts);
        if tee.is_none()
            && on_loss == OnLoss::Fail
            && let Some(place) = section.take_out("min_free")
        {
            let message = "`min_free` is for streams that are recorded or held";
            let help = "leave it out, or write `tee = \"wav\"` or `on_loss = \"hold\"`";
            self.error(&place, message, help).label("no meaning here");
        }
        let min_free = self.min_free(section);
        let ca_file = section.text("ca_file");
        let max_message = section.memory("max_message", 1024 * 1024);
        let max_buffer = section.memory("max_buffer", 64 * 1024);
        let silence_timeout =
            section.duration("silence_timeout", Duration::from_secs(30), Zero::Refused);
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

    /// Reads the options of the recording beside the relay.
    fn tee(&mut self, section: &mut Section<'_>) -> Option<Recordings> {
        let tee = section.choice("tee", &TEES);
        match tee.map_or(Also::Nothing, |tee| tee.value) {
            Also::Recorded => self.recordings(section),
            Also::Nothing => {
                for option in OF_RECORDINGS {
                    if let Some(place) = section.take_out(option) {
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
        let Some(receipts) = section.choice("receipts", &RECEIPTS) else {
            return Promise::None;
        };
        if receipts.value == Promise::Recorded && tee.is_none() {
            let message = "`receipts` promises a recording, but nothing is recorded";
            let help = "write `tee = \"wav\"` as well, or another promise";
            self.error(&receipts.place, message, help);
        }
        receipts.value
    }

    fn template(&mut self, url: &Spanned<String>) -> Option<Template> {
        Template::parse(&url.value)
            .map_err(|error| {
                let message = format!("`url` is not the address of a backend: {error}");
                let help = "write ws:// or wss://, a host, and a path with places such as \
                            {param.meeting_id}, {query.source} or {auth.user_id}";
                self.error(&url.place, message, help)
                    .label("not an address");
            })
            .ok()
    }

    /// Reads the addresses where a backend listens.
    fn addresses(&mut self, section: &mut Section<'_>) -> Vec<(String, u16)> {
        let mut addresses = Vec::new();
        for address in section.distinct("addresses") {
            let parsed: Option<Authority> = address.value.parse().ok();
            let parsed =
                parsed.filter(|parsed| !address.value.contains('@') && !parsed.host().is_empty());
            match parsed.and_then(|parsed| Some((parsed.host().to_owned(), parsed.port_u16()?))) {
                // An IPv6 address has brackets only in front of a port.
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

    /// Reads the attributes that the backend gets. No two may have the same header.
    fn attributes(&mut self, section: &mut Section<'_>) -> Vec<String> {
        let mut words: BTreeMap<String, String> = ["user", "tenant", "session"]
            .map(|word| (word.to_owned(), word.to_owned()))
            .into();
        let mut attributes = Vec::new();
        for attribute in section.distinct("attributes") {
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
        for header in section.distinct("forward_headers") {
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

    /// Reads the trust for `wss://`; `None` after a mistake.
    fn trust(
        &mut self,
        url: &Template,
        url_place: &Place,
        ca_file: Option<Spanned<String>>,
    ) -> Option<Option<Trust>> {
        if url.scheme() == UrlScheme::Ws {
            if let Some(file) = ca_file {
                let message = "`ca_file` is for wss://, but this backend's URL is ws://";
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
                let help = "remove the damaged ones, or copy them from their source again";
                self.warning(place, message, help);
                Some(Some(trust))
            }
            Err(error) => {
                let message = format!("the backend's certificate cannot be verified: {error:#}");
                let help = "write `ca_file`: a PEM file with the authorities that sign the backend's certificate";
                self.error(place, message, help);
                None
            }
        }
    }
}
