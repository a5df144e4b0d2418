//! Options of the admin listener and of the probe listener, in `[server]`.

use std::net::{IpAddr, SocketAddr};

use super::Reader;
use crate::settings::{Admin, AdminTokens, Server};
use crate::toml::{Section, Spanned};
use base::diagnostics::Place;
use base::files::text::{self, TextError};
use base::secret::Secret;

impl Reader<'_> {
    /// Reads the options of the admin listener. One that other machines can reach must speak TLS
    /// and ask for a token.
    pub(super) fn admin(&mut self, section: &mut Section<'_>) -> Admin {
        let listen = section.text("admin_listen");
        let address = listen
            .as_ref()
            .and_then(|listen| self.listen("admin_listen", listen));
        let tls = self.tls(section, "admin_tls_certificate", "admin_tls_key");
        let before = self.toml.diagnostics().len();
        let tokens = self.admin_tokens(section);
        let tokens_are_fine = self.toml.diagnostics().len() == before;
        let mut missing = Vec::new();
        if tls.is_none() {
            missing.push("TLS");
        }
        if tokens.is_empty() && tokens_are_fine {
            missing.push("a token");
        }
        if let (Some(listen), Some(address)) = (&listen, address)
            && !address.ip().to_canonical().is_loopback()
            && !missing.is_empty()
        {
            let message = format!(
                "`admin_listen` can be reached from other machines, and has not {}: \"{}\"",
                missing.join(" and "),
                listen.value
            );
            let help = "write a loopback address, such as \"127.0.0.1:9180\" or \"[::1]:9180\"; or \
                        set `admin_tls_certificate`, `admin_tls_key` and `admin_token_file`";
            self.error(&listen.place, message, help)
                .label("not this machine alone");
        }
        Admin {
            listen: address,
            hosts: self.admin_hosts(section),
            tls,
            tokens,
            probe: section
                .text("probe_listen")
                .and_then(|listen| self.listen("probe_listen", &listen)),
        }
    }

    /// Tokens of the two roles, which must differ.
    fn admin_tokens(&mut self, section: &mut Section<'_>) -> AdminTokens {
        let place = section.place_of("admin_read_token_file");
        let tokens = AdminTokens {
            operate: self.admin_token(section, "admin_token_file", "admin_token_env"),
            read: self.admin_token(section, "admin_read_token_file", "admin_read_token_env"),
        };
        if tokens.read.is_some() && tokens.read == tokens.operate {
            let message = "the tokens of both roles are the same: whoever reads could operate";
            let help = "write another long random text for one of the two: openssl rand -hex 32";
            self.error(&place, message, help);
        }
        tokens
    }

    /// Token of a role, from a file of its own or from an environment variable.
    fn admin_token(
        &mut self,
        section: &mut Section<'_>,
        file: &'static str,
        variable: &'static str,
    ) -> Option<Secret> {
        let (from_file, from_variable) = (section.text(file), section.text(variable));
        let (key, named, bytes) = match (from_file, from_variable) {
            (Some(named), None) => {
                let (path, bytes) = self.read_file(&named.value);
                let path = path.display();
                let what = format!("the file of `{file}`, {path},");
                (what, named, bytes.map_err(TextError::from))
            }
            (None, Some(named)) => {
                let value = self.variable(&named, file)?;
                let what = format!("the variable of `{variable}`, {},", named.value);
                (what, named, Ok(value))
            }
            (Some(_), Some(named)) => {
                let message = format!("`{file}` and `{variable}` are two sources of one token");
                self.error(&named.place, message, "keep one of the two")
                    .label("the second source");
                return None;
            }
            (None, None) => return None,
        };
        self.long_token(&key, &named, bytes)
    }

    fn long_token(
        &mut self,
        what: &str,
        named: &Spanned<String>,
        bytes: Result<Vec<u8>, TextError>,
    ) -> Option<Secret> {
        let token = bytes.and_then(|bytes| Ok(text::decode(bytes)?));
        let why = match token.as_deref().map(str::trim) {
            Ok(token) if token.len() < Secret::SHORTEST => {
                format!("it is shorter than {} bytes", Secret::SHORTEST)
            }
            // It is sent in a header.
            Ok(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                "it has white space, or characters that are not ASCII, within".to_owned()
            }
            Ok(token) => return Some(Secret::new(token)),
            Err(error) => error.to_string(),
        };
        let message = format!("{what} has no token: {why}");
        let help = "write a long random text into it: openssl rand -hex 32";
        self.error(&named.place, message, help).label("no token");
        None
    }

    /// Reads the host names of the admin listener, beside those of loopback.
    fn admin_hosts(&mut self, section: &mut Section<'_>) -> Vec<String> {
        let mut hosts = Vec::new();
        for host in section.distinct("admin_hosts") {
            let name = host.value.trim_start_matches('[').trim_end_matches(']');
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if name.parse::<IpAddr>().is_ok() || name.bytes().all(is_name) {
                hosts.push(name.to_ascii_lowercase());
            } else {
                let message = format!("\"{}\" is not the name of a host", host.value);
                let help = "write a name or an address without a port: \"metrics.internal\"";
                self.error(&host.place, message, help).label("no host");
            }
        }
        hosts
    }

    /// Checks that no two listeners conflict. Two of them can share a port only if their addresses
    /// differ and neither is the wildcard address of its family. IPv4 and IPv6 do not conflict.
    pub(super) fn check_listeners(&mut self, server: &Server, places: &ListenPlaces) {
        let help = "choose another port for one of the two, or leave the narrower one out";
        let Server { listen, admin, .. } = server;
        let of = |address: Option<SocketAddr>| address.as_slice().to_vec();
        let (for_admins, for_probes) = (of(admin.listen), of(admin.probe));
        for (key, ours, place, other, theirs, there) in [
            (
                "admin_listen",
                &for_admins,
                &places.admin,
                "listen",
                listen,
                &places.clients,
            ),
            (
                "probe_listen",
                &for_probes,
                &places.probe,
                "listen",
                listen,
                &places.clients,
            ),
            (
                "probe_listen",
                &for_probes,
                &places.probe,
                "admin_listen",
                &for_admins,
                &places.admin,
            ),
        ] {
            let taken = ours
                .iter()
                .find_map(|ours| theirs.iter().find(|theirs| clash(ours, theirs)));
            if let Some(taken) = taken {
                let message = format!("`{key}` conflicts with `{other}`, {taken}");
                self.error(place, message, help)
                    .label("taken")
                    .also(there, "here");
            }
        }
        for (number, address) in listen.iter().enumerate() {
            let mut before = listen.iter().take(number);
            if let Some(taken) = before.find(|before| clash(before, address)) {
                let message = format!("`listen` cannot have {address} beside {taken}");
                self.error(&places.clients, message, help)
                    .label("taken twice");
            }
        }
    }
}

/// Places of the listeners in the file.
pub(super) struct ListenPlaces {
    /// Of `listen`.
    pub(super) clients: Place,
    /// Of `admin_listen`.
    pub(super) admin: Place,
    /// Of `probe_listen`.
    pub(super) probe: Place,
}

fn clash(one: &SocketAddr, other: &SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port()
        && one.port() != 0
        && a.is_ipv4() == b.is_ipv4()
        && (a == b || a.is_unspecified() || b.is_unspecified())
}
