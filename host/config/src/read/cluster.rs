//! `[cluster]`

use std::net::IpAddr;
use std::time::Duration;

use axum::http::Uri;

use super::Reader;
use crate::toml::{Section, Spanned, Zero};
use base::diagnostics::Place;
use base::files::text::{self, TextError};
use base::secret::Secret;
use base::tls::client::Authorities;
use cluster::settings::{Cluster, Login, Tls};

/// Numbers of servers that can keep a message.
const REPLICAS: std::ops::RangeInclusive<usize> = 1..=5;
/// Options without effect where no server is named.
const OPTIONS: [&str; 11] = [
    "credentials_file",
    "credentials_env",
    "user",
    "password_file",
    "password_env",
    "ca_file",
    "tls_certificate",
    "tls_key",
    "replicas",
    "prefix",
    "timeout",
];

impl Reader<'_> {
    /// Reads `[cluster]`. Without servers there is none.
    pub(super) fn cluster(&mut self, mut section: Section<'_>) -> Option<Cluster> {
        let place = section.place.clone();
        let is_meant = OPTIONS.iter().any(|option| section.has(option));
        let named = section.distinct("servers");
        let is_tls = |server: &Spanned<String>| server.value.starts_with("tls:");
        let (tls, plain): (Vec<_>, Vec<_>) = named.iter().partition(|server| is_tls(server));
        if let (Some(_), Some(plain)) = (tls.first(), plain.first()) {
            let message = "some `servers` speak TLS, and this one does not";
            let help = "write tls:// for all of them, or nats:// for all of them";
            self.error(&plain.place, message, help).label("no TLS");
        }
        let servers: Vec<_> = named
            .iter()
            .filter_map(|server| self.nats_server(server))
            .collect();
        let login = self.login(&mut section);
        if let Login::Password { .. } = login
            && let Some(server) = plain.iter().find(|server| !is_here(&server.value))
        {
            let message = "the password would be sent to this server without TLS";
            let help = "write tls:// instead of nats://, or log in by `credentials_file`";
            self.error(&server.place, message, help).label("no TLS");
        }
        let tls = self.cluster_tls(&mut section, tls.first().map(|server| &server.place));
        let cluster = Cluster {
            servers,
            login,
            tls,
            replicas: self.replicas(&mut section),
            prefix: self.prefix(&mut section),
            timeout: section.duration("timeout", Duration::from_secs(2), Zero::Refused),
        };
        section.finish();
        if cluster.servers.is_empty() {
            if is_meant && named.is_empty() {
                let message = "[cluster] connects to nothing: it names no `servers`";
                let help =
                    "write `servers = [\"nats://127.0.0.1:4222\"]`, or leave the section out";
                self.warning(&place, message, help).label("no effect");
            }
            return None;
        }
        Some(cluster)
    }

    fn nats_server(&mut self, server: &Spanned<String>) -> Option<String> {
        let url = server.value.parse::<Uri>().ok();
        let fits = url.as_ref().is_some_and(|url| {
            let authority = url.authority();
            let has_host = authority.is_some_and(|authority| {
                !authority.as_str().contains('@') && !authority.host().is_empty()
            });
            has_host && matches!(url.scheme_str(), Some("nats" | "tls")) && url.path() == "/"
        });
        if fits {
            return Some(server.value.clone());
        }
        // It is not quoted: it may have a password in it.
        let message = "`servers` has an entry that is not the address of a NATS server";
        let help = "write \"nats://HOST:4222\", or \"tls://HOST:4222\", without a user: \
                    see `credentials_file` and `user`";
        self.error(&server.place, message, help)
            .label("no such address");
        None
    }

    /// Reads how the gateway logs in.
    fn login(&mut self, section: &mut Section<'_>) -> Login {
        let credentials = self.login_secret(section, "credentials_file", "credentials_env");
        let password = self.login_secret(section, "password_file", "password_env");
        let user = section.text("user");
        match (credentials, user, password) {
            (None, None, None) => Login::None,
            (Some((_, credentials)), None, None) => Login::Credentials(credentials),
            (None, Some(user), Some((_, password))) => Login::Password {
                user: user.value,
                password,
            },
            (None, Some(Spanned { place, .. }), None) | (None, None, Some((place, _))) => {
                let message = "`user` and its password belong together";
                let help = "write `user`, and `password_file` or `password_env`, or none of them";
                self.error(&place, message, help).label("alone");
                Login::None
            }
            (Some((place, _)), _, _) => {
                let message = "`credentials_file` and `user` are two ways to log in";
                self.error(&place, message, "keep one of the two")
                    .label("one of two");
                Login::None
            }
        }
    }

    /// Secret from a file of its own or from an environment variable.
    fn login_secret(
        &mut self,
        section: &mut Section<'_>,
        file: &'static str,
        variable: &'static str,
    ) -> Option<(Place, Secret)> {
        let (named, bytes) = match (section.text(file), section.text(variable)) {
            (Some(named), None) => {
                let (_, bytes) = self.read_file(&named.value);
                (named, bytes.map_err(TextError::from))
            }
            (None, Some(named)) => {
                let value = self.variable(&named, file)?;
                (named, Ok(value))
            }
            (Some(_), Some(named)) => {
                let message = format!("`{file}` and `{variable}` are two sources of one secret");
                self.error(&named.place, message, "keep one of the two")
                    .label("the second source");
                return None;
            }
            (None, None) => return None,
        };
        let read = bytes.and_then(|bytes| Ok(text::decode(bytes)?));
        let why = match read.as_deref().map(str::trim) {
            Ok("") => "it is empty".to_owned(),
            Ok(secret) => return Some((named.place, Secret::new(secret))),
            Err(error) => error.to_string(),
        };
        let message = format!("the secret for NATS cannot be read: {why}");
        let help = "name a file that the gateway's user can read, or another variable";
        self.error(&named.place, message, help).label("no secret");
        None
    }

    /// Reads the certificates. `place` is that of a server that speaks TLS.
    fn cluster_tls(&mut self, section: &mut Section<'_>, place: Option<&Place>) -> Option<Tls> {
        let authorities = section.text("ca_file");
        let identity = self.tls(section, "tls_certificate", "tls_key");
        let Some(place) = place else {
            let alone = authorities.map(|authorities| authorities.place);
            if let Some(place) = alone.or(identity.map(|identity| identity.place)) {
                let message = "certificates are for servers that speak TLS";
                let help = "write tls:// in `servers`, or leave it out";
                self.error(&place, message, help).label("no meaning here");
            }
            return None;
        };
        let place = match (&authorities, &identity) {
            (Some(authorities), _) => authorities.place.clone(),
            (None, Some(identity)) => identity.place.clone(),
            (None, None) => place.clone(),
        };
        let authorities = match authorities {
            Some(file) => Authorities::File(self.file(&file.value)),
            None => Authorities::Platform,
        };
        let identity = identity.map(|identity| (identity.certificate, identity.key));
        match Tls::read(authorities, identity) {
            Ok((tls, 0)) => Some(tls),
            Ok((tls, passed_over)) => {
                let message = format!(
                    "`ca_file` has certificates that cannot be used ({passed_over}); the others are"
                );
                let help = "remove the damaged ones, or copy them from their source again";
                self.warning(&place, message, help);
                Some(tls)
            }
            Err(error) => {
                let message = format!("TLS to NATS is not possible: {error:#}");
                let help = "correct `ca_file`, `tls_certificate` and `tls_key`: all are PEM files";
                self.error(&place, message, help).label("not usable");
                None
            }
        }
    }

    fn replicas(&mut self, section: &mut Section<'_>) -> usize {
        let place = section.place_of("replicas");
        let replicas = section.count("replicas", 1, Zero::Refused);
        if REPLICAS.contains(&replicas) {
            return replicas;
        }
        let message = format!("`replicas` is {replicas}, and NATS keeps at most 5");
        let help = "write 1 for a single server, 3 for a cluster that survives the loss of one \
                    server, or 5 for one that survives the loss of two";
        self.error(&place, message, help).label("too many");
        1
    }

    fn prefix(&mut self, section: &mut Section<'_>) -> String {
        let usual = "sluice".to_owned();
        let Some(prefix) = section.text("prefix") else {
            return usual;
        };
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if prefix.value.chars().all(fits) && prefix.value.len() <= 32 {
            return prefix.value;
        }
        let message = format!("\"{}\" cannot be a prefix", prefix.value);
        let help = "use at most 32 lowercase letters, digits, hyphens and underscores: it is the \
                    first part of subjects, and of the names of streams";
        self.error(&prefix.place, message, help)
            .label("not a prefix");
        usual
    }
}

/// Whether a server is on this machine.
fn is_here(url: &str) -> bool {
    let url = url.parse::<Uri>().ok();
    let host = url.as_ref().and_then(|url| url.host()).unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}
