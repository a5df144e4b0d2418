//! Options of `[server]` about trusted proxies and host names.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::Reader;
use crate::toml::{Section, Spanned};
use wire::proxies::{Field, Proxies};

const FIELDS: [(&str, Field); 2] = [
    ("x-forwarded-for", Field::XForwardedFor),
    ("forwarded", Field::Forwarded),
];

impl Reader<'_> {
    /// Reads which proxies are trusted, and which header they write.
    pub(super) fn proxies(&mut self, section: &mut Section<'_>) -> Proxies {
        let mut trusted = Vec::new();
        for network in section.distinct("trusted_proxies") {
            trusted.extend(self.network(&network));
        }
        let field = section.choice("client_address_header", &FIELDS);
        if let (Some(field), true) = (&field, trusted.is_empty()) {
            let message = "`client_address_header` is read from trusted proxies only";
            let help = "name them in `trusted_proxies`, or leave this line out";
            self.error(&field.place, message, help)
                .label("no meaning here");
        }
        Proxies {
            trusted,
            field: field.map_or_else(Field::default, |field| field.value),
        }
    }

    fn network(&mut self, text: &Spanned<String>) -> Option<IpNet> {
        let one = text.value.parse::<IpAddr>().map(IpNet::from);
        let Some(network) = text.value.parse().or(one).ok() else {
            let message = format!("\"{}\" is not an address or a network", text.value);
            let help = "write one proxy or all of a network: \"10.0.0.1\", \"10.0.0.0/8\" or \
                        \"2001:db8::/32\"";
            self.error(&text.place, message, help).label("no network");
            return None;
        };
        // Addresses are compared with it in their IPv4 form.
        if let IpNet::V6(six) = &network
            && six.addr().to_ipv4_mapped().is_some()
        {
            let message = format!("\"{}\" is IPv4, written as IPv6", text.value);
            self.error(&text.place, message, "write it as IPv4: \"10.0.0.0/8\"")
                .label("never compared");
            return None;
        }
        Some(network)
    }

    /// Reads the listeners for trusted proxies.
    pub(super) fn proxy_listeners(
        &mut self,
        section: &mut Section<'_>,
        proxies: &Proxies,
    ) -> Vec<SocketAddr> {
        let place = section.place_of("proxy_listen");
        let listeners = self.listeners(section, "proxy_listen");
        if !listeners.is_empty() && proxies.trusted.is_empty() {
            let message = "`proxy_listen` is for trusted proxies, but there are none";
            let help = "name them in `trusted_proxies`; others could send a false address";
            self.error(&place, message, help)
                .label("no proxy may connect");
        }
        listeners
    }
}
