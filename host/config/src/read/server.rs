//! `[server]`

use std::net::SocketAddr;
use std::time::Duration;

use super::Reader;
use super::admin::ListenPlaces;
use crate::settings::{OnChange, Server};
use crate::toml::{Section, Spanned, Zero};
use base::diagnostics::Place;
use base::tls::settings::Tls;

impl Reader<'_> {
    /// Reads `[server]`.
    pub(super) fn server(&mut self, mut section: Section<'_>) -> Server {
        let places = ListenPlaces {
            clients: section.place_of("listen"),
            admin: section.place_of("admin_listen"),
            probe: section.place_of("probe_listen"),
        };
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
            tls: self.tls(&mut section, "tls_certificate", "tls_key"),
            admin: self.admin(&mut section),
            watch: self.watch(&mut section),
        };
        section.finish();
        self.check_listeners(&server, &places);
        server
    }

    fn watch(&mut self, section: &mut Section<'_>) -> OnChange {
        match section.truth("watch") {
            Some(false) => OnChange::Wait,
            Some(true) | None => OnChange::Reload,
        }
    }

    /// Certificate and key, of which neither is of use alone.
    pub(super) fn tls(
        &mut self,
        section: &mut Section<'_>,
        certificate_key: &'static str,
        key_key: &'static str,
    ) -> Option<Tls> {
        let certificate = section.text(certificate_key);
        let key = section.text(key_key);
        let (certificate, key) = match (certificate, key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(alone), None) => return self.half_tls(&alone.place, key_key),
            (None, Some(alone)) => return self.half_tls(&alone.place, certificate_key),
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

    pub(super) fn listen(&mut self, key: &str, listen: &Spanned<String>) -> Option<SocketAddr> {
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
