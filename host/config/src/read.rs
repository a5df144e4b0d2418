//! From TOML to [`Config`], collecting mistakes on the way.
//!
//! A bad value is reported and replaced by its default, and what cannot be
//! made at all is left out together with every reference to it. So the rest of
//! the file is read, and later stages can look at the result, as if the
//! mistake had not been made.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml_span::Span;
use toml_span::value::{Value, ValueInner};

use crate::settings::{Config, Declared, Server, Watch};
use ::policy::settings::Decisions;
use base::diagnostics::{Diagnostic, Diagnostics, Place, Source};
use base::files::{self, Content};
use base::tls::settings::Tls;
use names::Names;
use quantity::Zero;
use section::Section;

mod clients;
mod component;
mod effects;
mod key_set;
mod limits;
pub(crate) mod names;
mod paths;
mod policy;
mod policy_limits;
mod proxies;
mod quantity;
mod recordings;
pub(crate) mod references;
mod route;
mod section;
mod syntax;
#[cfg(test)]
mod tests;
mod trial;
mod upstream;
mod upstream_routes;
mod websocket;

/// Where a configuration comes from.
pub(super) struct Origin<'a> {
    /// What reports call it.
    pub(super) name: &'a str,
    /// The TOML.
    pub(super) text: &'a str,
    /// What relative paths in it are relative to.
    pub(super) folder: &'a Path,
    /// Looks up an environment variable.
    pub(super) environment: &'a dyn Fn(&str) -> Option<OsString>,
}

/// What every part of the reader needs.
struct Reader<'a> {
    origin: &'a Origin<'a>,
    source: Arc<Source>,
    diagnostics: Diagnostics,
    /// Every option that was asked for, with its kind of section. The example
    /// is tested against it.
    asked: BTreeSet<(&'static str, &'static str)>,
    /// Every file that was looked at, with what was in it where it was read.
    files: BTreeMap<PathBuf, Option<Content>>,
    /// Every option that the file has, with its place, by the title of its section.
    written: BTreeMap<String, BTreeMap<&'static str, Place>>,
}

/// A value and where it stands.
struct Spanned<T> {
    value: T,
    place: Place,
}

/// Reads a configuration.
///
/// # Errors
/// When it is not TOML at all.
pub(super) fn read(origin: &Origin<'_>) -> Result<(Config, Diagnostics), Diagnostics> {
    let mut reader = Reader::new(origin);
    let config = reader.config();
    match config {
        Some(config) => Ok((config, reader.diagnostics)),
        None => Err(reader.diagnostics),
    }
}

impl<'a> Reader<'a> {
    fn new(origin: &'a Origin<'a>) -> Self {
        Self {
            origin,
            source: Source::new(origin.name, origin.text),
            diagnostics: Diagnostics::default(),
            asked: BTreeSet::new(),
            files: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    fn config(&mut self) -> Option<Config> {
        let mut root = match toml_span::parse(self.origin.text) {
            Ok(root) => root,
            Err(error) => {
                self.not_toml(&error);
                return None;
            }
        };
        let place = self.place(Span::new(0, 0));
        let mut root = Section::new("", "the file", place.clone(), root.take())?;

        let data_dir = match root.text(self, "data_dir") {
            Some(folder) => self.relative(&folder.value),
            None => self.relative("data"),
        };
        let credentials = root.text(self, "registry_credentials");
        let credentials = credentials.and_then(|file| self.credentials(&file));
        let realms = self.realms(&mut root);
        let server = root.section(self, "server", "server", "[server]");
        let server = self.server(server);
        let decisions = root.section(self, "decisions", "decisions", "[decisions]");
        let decisions = self.decisions(decisions);
        let key_sets = root.named(self, "key_sets", "key_sets.NAME", names::Rule::Name);
        let policies = root.named(self, "policies", "policies.NAME", names::Rule::Policy);
        let upstreams = root.named(self, "upstreams", "upstreams.NAME", names::Rule::Name);
        let routes = root.named(self, "routes", "routes.NAME", names::Rule::Name);
        root.finish(self);
        if routes.is_empty() {
            self.error(
                &place,
                "there are no routes, so there is nothing to serve",
                "add a [routes.NAME] section with `paths` and an `upstream`",
            );
        }

        let names = Names {
            policies: policies.keys().cloned().collect(),
            upstreams: upstreams.keys().cloned().collect(),
        };
        let declared_key_sets: BTreeSet<String> = key_sets.keys().cloned().collect();
        let key_sets = self.each(key_sets, Self::key_set);
        let policies = self.each(policies, Self::policy);
        let places: BTreeMap<String, Place> = upstreams
            .iter()
            .map(|(name, section)| (name.clone(), section.place.clone()))
            .collect();
        let upstreams = self.each(upstreams, Self::upstream);
        let mut routes = self.routes(routes, &names);
        self.check_trials(&names.policies, &policies, &routes);
        let mut told = Vec::new();
        for (name, upstream) in &upstreams {
            let place = &places[name];
            told.extend(self.check_backend(name, upstream, place, &routes));
            self.check_handshakes(name, upstream, place, &routes);
            told.extend(self.check_identity(name, upstream, place, &policies, &routes));
        }
        self.check_folders(&upstreams, &places);
        for route in routes.values_mut() {
            route.on_connect.retain(|name| policies.contains_key(name));
            for chain in [
                &mut route.on_handshake,
                &mut route.on_frames,
                &mut route.on_close,
            ] {
                chain.retain(|name| policies.contains_key(name));
            }
        }
        let config = Config {
            data_dir,
            credentials: credentials.unwrap_or_default(),
            realms,
            server,
            decisions,
            key_sets,
            policies,
            upstreams,
            routes,
            declared: Declared {
                key_sets: declared_key_sets,
                policies: names.policies,
            },
            upstream_attributes: told,
            files: std::mem::take(&mut self.files),
        };
        // Of what is broken, nobody need be told that it has no effect.
        if self.diagnostics.is_empty() {
            self.check_effects(&config, &places);
        }
        let routes = config.routes.into_iter();
        let routes = routes.filter(|(_, route)| config.upstreams.contains_key(&route.upstream));
        Some(Config {
            routes: routes.collect(),
            ..config
        })
    }

    fn server(&mut self, section: Option<Section<'_>>) -> Server {
        let place = Place::nowhere();
        let mut section = section.unwrap_or_else(|| Section::empty("server", "[server]", place));
        let listen_place = section.place_of(self, "listen");
        let admin_place = section.place_of(self, "admin_listen");
        let mut listen = self.listeners(&mut section, "listen");
        let proxies = self.proxies(&mut section);
        let proxy_listen = self.proxy_listeners(&mut section, &proxies);
        if listen.is_empty() && proxy_listen.is_empty() {
            listen.push(SocketAddr::from(([127, 0, 0, 1], 8080)));
        }
        let server = Server {
            listen,
            proxy_listen,
            proxies,
            header_timeout: section.duration(
                self,
                "header_timeout",
                Duration::from_secs(5),
                Zero::Refused,
            ),
            drain_timeout: section.duration(
                self,
                "drain_timeout",
                Duration::from_secs(30),
                Zero::Allowed,
            ),
            max_connections: section.count(self, "max_connections", 8000, Zero::Refused),
            max_refusals: section.count(self, "max_refusals", 256, Zero::Allowed),
            max_parked: section.count(self, "max_parked", 1000, Zero::Allowed),
            max_memory: match section.memory(self, "max_memory", 4 << 30) {
                0 => usize::MAX,
                bytes => bytes,
            },
            shares: self.shares(&mut section),
            tls: self.tls(&mut section),
            admin: self.admin_listen(&mut section),
            admin_hosts: self.admin_hosts(&mut section),
            watch: self.watch(&mut section),
        };
        section.finish(self);
        self.check_listeners(&server, &listen_place, &admin_place);
        server
    }

    fn decisions(&mut self, section: Option<Section<'_>>) -> Decisions {
        let place = Place::nowhere();
        let mut section =
            section.unwrap_or_else(|| Section::empty("decisions", "[decisions]", place));
        let place = section.place.clone();
        let file = section.text(self, "file");
        let decisions = Decisions {
            file: file.map(|file| file.value.into()),
            max_size: section.size(self, "max_size", 64 << 20),
            max_files: section.count(self, "max_files", 8, Zero::Refused),
        };
        section.finish(self);
        self.check_decisions(&place, &decisions);
        decisions
    }

    fn watch(&mut self, section: &mut Section<'_>) -> Watch {
        match section.truth(self, "watch") {
            Some(false) => Watch::Wait,
            Some(true) | None => Watch::Reload,
        }
    }

    /// A certificate is of no use without its key.
    fn tls(&mut self, section: &mut Section<'_>) -> Option<Tls> {
        let certificate = section.text(self, "tls_certificate");
        let key = section.text(self, "tls_key");
        let (certificate, key) = match (certificate, key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(alone), None) => return self.half_tls(&alone.place, "tls_key"),
            (None, Some(alone)) => return self.half_tls(&alone.place, "tls_certificate"),
            (None, None) => return None,
        };
        Some(Tls {
            place: certificate.place,
            certificate: self.file(&certificate.value),
            key: self.file(&key.value),
        })
    }

    fn half_tls(&mut self, place: &Place, missing: &str) -> Option<Tls> {
        let message = format!("TLS needs a certificate and its key; there is no `{missing}`");
        let help =
            format!("write `{missing} = \"file.pem\"` too, or remove this line for plain TCP");
        self.error(place, message, help).label("alone");
        None
    }

    /// Whoever reaches it can make the gateway read its configuration again, and
    /// nobody is asked who they are: it is for this machine only.
    fn admin_listen(&mut self, section: &mut Section<'_>) -> Option<SocketAddr> {
        let listen = section.text(self, "admin_listen")?;
        let address = self.listen("admin_listen", &listen)?;
        if address.ip().to_canonical().is_loopback() {
            return Some(address);
        }
        let message = format!(
            "`admin_listen` can be reached from other machines: \"{}\"",
            listen.value
        );
        let help = "write a loopback address, such as \"127.0.0.1:9180\" or \"[::1]:9180\"; \
                    for whoever is elsewhere, put a proxy before it that asks who they are";
        self.error(&listen.place, message, help)
            .label("not this machine alone");
        None
    }

    /// Two listeners on one port get on only where their addresses differ and neither is all of
    /// its family's. The two families have nothing in common.
    fn check_listeners(&mut self, server: &Server, listen: &Place, admin: &Place) {
        let clash = |one: &SocketAddr, other: &SocketAddr| {
            let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
            one.port() == other.port()
                && one.port() != 0
                && a.is_ipv4() == b.is_ipv4()
                && (a == b || a.is_unspecified() || b.is_unspecified())
        };
        let help = "choose another port for one of the two, or leave the narrower one out";
        if let Some(taken) = server.admin.as_ref().and_then(|admin| {
            let mut listen = server.listen.iter();
            listen.find(|listen| clash(listen, admin))
        }) {
            let message = format!("`admin_listen` cannot be had beside `listen`, {taken}");
            self.error(admin, message, help)
                .label("taken")
                .also(listen, "here");
        }
        for (number, address) in server.listen.iter().enumerate() {
            let mut before = server.listen.iter().take(number);
            if let Some(taken) = before.find(|before| clash(before, address)) {
                let message = format!("`listen` cannot have {address} beside {taken}");
                self.error(listen, message, help).label("taken twice");
            }
        }
    }

    /// One address, or a list of them.
    fn listeners(&mut self, section: &mut Section<'_>, key: &'static str) -> Vec<SocketAddr> {
        let mut listeners: Vec<SocketAddr> = Vec::new();
        for text in section.one_or_more(self, key) {
            let Some(address) = self.listen(key, &text) else {
                continue;
            };
            // Port 0 is another one each time.
            if address.port() != 0 && listeners.contains(&address) {
                let message = format!("`{key}` names {address} twice");
                self.error(&text.place, message, "keep one of the two")
                    .label("again here");
            } else {
                listeners.push(address);
            }
        }
        listeners
    }

    fn listen(&mut self, key: &str, listen: &Spanned<String>) -> Option<SocketAddr> {
        let address = listen.value.parse().ok();
        if address.is_none() {
            let message = format!("`{key}` is not an address and a port: \"{}\"", listen.value);
            self.error(
                &listen.place,
                message,
                "write an IP address and a port: \"127.0.0.1:8080\" for this machine only, \
                 \"0.0.0.0:8080\" or \"[::]:8080\" for all of its networks",
            )
            .label("no address and port");
        }
        address
    }

    /// Reads each section of a kind; those that cannot be made are left out.
    fn each<'de, T>(
        &mut self,
        sections: names::Sections<'de>,
        read: impl Fn(&mut Self, Section<'de>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        sections
            .into_iter()
            .filter_map(|(name, section)| Some((name, read(self, section)?)))
            .collect()
    }

    fn place(&self, span: Span) -> Place {
        Place::new(&self.source, span.into())
    }

    fn error(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Diagnostic {
        self.diagnostics.error(place, message, help)
    }

    fn warning(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Diagnostic {
        self.diagnostics.warning(place, message, help)
    }

    /// A path as the file means it: relative to the file's own folder.
    fn relative(&self, path: &str) -> PathBuf {
        self.origin.folder.join(path)
    }

    /// [`Reader::relative`], for a file whose content is looked at.
    fn file(&mut self, path: &str) -> PathBuf {
        let file = self.relative(path);
        self.files.entry(file.clone()).or_default();
        file
    }

    /// The bytes of a file.
    fn read_file(&mut self, path: &str) -> (PathBuf, std::io::Result<Vec<u8>>) {
        let file = self.relative(path);
        let (bytes, content) = files::read(&file);
        self.files.insert(file.clone(), Some(content));
        (file, bytes)
    }

    fn text(&mut self, key: &str, value: &mut Value<'_>) -> Option<Spanned<String>> {
        let place = self.place(value.span);
        match value.take() {
            ValueInner::String(text) if text.trim().is_empty() => {
                let message = format!("`{key}` is empty");
                self.error(
                    &place,
                    message,
                    "write a value between the quotes, or leave the key out",
                )
                .label("empty");
                None
            }
            ValueInner::String(text) => Some(Spanned {
                value: text.into_owned(),
                place,
            }),
            other => {
                self.wrong_type(&place, key, "text", &other, "put it in quotes: \"…\"");
                None
            }
        }
    }

    fn wrong_type(
        &mut self,
        place: &Place,
        key: &str,
        wanted: &str,
        found: &ValueInner<'_>,
        help: &str,
    ) {
        let found = match found {
            ValueInner::String(_) => "text",
            ValueInner::Integer(_) | ValueInner::Float(_) => "a number",
            ValueInner::Boolean(_) => "true or false",
            ValueInner::Array(_) => "a list",
            ValueInner::Table(_) => "a table",
        };
        self.error(place, format!("`{key}` is {wanted}, not {found}"), help)
            .label(format!("{found}, where {wanted} belongs"));
    }
}
