//! `[server]`

use std::net::SocketAddr;
use std::time::Duration;

use super::Reader;
use crate::settings::{OnChange, Server};
use crate::toml::{Section, Spanned, Zero};
use base::diagnostics::Place;
use base::files::text::{self, TextError};
use base::secret::Secret;
use base::tls::settings::Tls;

impl Reader<'_> {
    /// Reads `[server]`.
    pub(super) fn server(&mut self, mut section: Section<'_>) -> Server {
        let listen_place = section.place_of("listen");
        let admin_place = section.place_of("admin_listen");
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
                "header_timeout",
                Duration::from_secs(5),
                Zero::Refused,
            ),
            drain_timeout: section.duration(
                "drain_timeout",
                Duration::from_secs(30),
                Zero::Allowed,
            ),
            max_connections: section.count("max_connections", 8000, Zero::Refused),
            max_refusals: section.count("max_refusals", 256, Zero::Allowed),
            max_parked: section.count("max_parked", 1000, Zero::Allowed),
            max_memory: match section.memory("max_memory", 4 << 30) {
                0 => usize::MAX,
                bytes => bytes,
            },
            shares: self.shares(&mut section),
            tls: self.tls(&mut section),
            admin: self.admin_listen(&mut section),
            admin_hosts: self.admin_hosts(&mut section),
            admin_token: self.admin_token(&mut section),
            watch: self.watch(&mut section),
        };
        section.finish();
        self.check_listeners(&server, &listen_place, &admin_place);
        server
    }

    fn watch(&mut self, section: &mut Section<'_>) -> OnChange {
        match section.truth("watch") {
            Some(false) => OnChange::Wait,
            Some(true) | None => OnChange::Reload,
        }
    }

    /// Certificate and key, of which neither is of use alone.
    fn tls(&mut self, section: &mut Section<'_>) -> Option<Tls> {
        let certificate = section.text("tls_certificate");
        let key = section.text("tls_key");
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

    /// Address of the admin listener. It must be a loopback address, because the listener reloads
    /// the configuration for anybody who can reach it.
    fn admin_listen(&mut self, section: &mut Section<'_>) -> Option<SocketAddr> {
        let listen = section.text("admin_listen")?;
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

    /// Token of those who may change something by way of the admin listener, in a file of its own.
    fn admin_token(&mut self, section: &mut Section<'_>) -> Option<Secret> {
        let named = section.text("admin_token_file")?;
        let (file, bytes) = self.read_file(&named.value);
        let read = bytes.map_err(TextError::from);
        let read = read.and_then(|bytes| Ok(text::decode(bytes)?));
        let file = file.display();
        let why = match read {
            Ok(token) if token.trim().len() >= Secret::SHORTEST => {
                return Some(Secret::new(token.trim()));
            }
            Ok(_) => format!("it is shorter than {} bytes", Secret::SHORTEST),
            Err(error) => error.to_string(),
        };
        let message = format!("the file of `admin_token_file`, {file}, has no token: {why}");
        let help = "write a long random text into it: openssl rand -hex 32 > FILE";
        self.error(&named.place, message, help).label("no token");
        None
    }

    /// Checks that no two listeners conflict. Two of them can share a port only if their addresses
    /// differ and neither is the wildcard address of its family. IPv4 and IPv6 do not conflict.
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
            let message = format!("`admin_listen` conflicts with `listen`, {taken}");
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
    pub(super) fn listeners(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
    ) -> Vec<SocketAddr> {
        let mut listeners: Vec<SocketAddr> = Vec::new();
        for text in section.one_or_more(key) {
            let Some(address) = self.listen(key, &text) else {
                continue;
            };
            // Port 0 is a different port each time.
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
}
