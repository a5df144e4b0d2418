//! `[server]`

use std::net::SocketAddr;
use std::time::Duration;

use super::Reader;
use super::admin::ListenPlaces;
use crate::settings::{OnChange, Server};
use crate::toml::{Section, Spanned, Zero};
use base::diagnostics::Place;
use base::tls::settings::{ClientCertificates, ClientDemand, Tls};

const DEMANDS: [(&str, ClientDemand); 2] = [
    ("optional", ClientDemand::Optional),
    ("required", ClientDemand::Required),
];

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
            tls: self.tls_for_clients(&mut section),
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

    /// Certificate and key, and which certificates clients must show.
    fn tls_for_clients(&mut self, section: &mut Section<'_>) -> Option<Tls> {
        let place = section.place_of("tls_client_ca");
        let tls = self.tls(section, "tls_certificate", "tls_key");
        let authorities = section.text("tls_client_ca");
        let revoked = section.text("tls_client_crl");
        let demand = section.choice("tls_client_certificates", &DEMANDS);
        let Some(authorities) = authorities else {
            let alone = revoked.map(|revoked| revoked.place);
            if let Some(place) = alone.or(demand.map(|demand| demand.place)) {
                let message = "certificates of clients need `tls_client_ca`";
                let help =
                    "name a PEM file with the authorities that sign them, or remove this line";
                self.error(&place, message, help).label("alone");
            }
            return tls;
        };
        let clients = ClientCertificates {
            authorities: self.file(&authorities.value),
            revoked: revoked.map(|revoked| self.file(&revoked.value)),
            demand: demand.map_or(ClientDemand::Required, |demand| demand.value),
        };
        if tls.is_none() {
            let message = "clients show certificates only where TLS is spoken";
            let help = "write `tls_certificate` and `tls_key` too, or remove this line";
            self.error(&place, message, help).label("no meaning here");
        }
        tls.map(|tls| Tls {
            clients: Some(clients),
            ..tls
        })
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
            clients: None,
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
