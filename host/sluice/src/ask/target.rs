//! Which admin listener is asked, with whose token, and whose certificate is trusted.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use reqwest::Url;
use reqwest::header::HeaderValue;

use super::AdminArgs;
use base::diagnostics::Mistakes;
use base::files::text;
use base::tls::client::{Authorities, Roots};
use config::{AdminTokens, Config};

/// Variable that has the token, for those who cannot read its file.
const VARIABLE: &str = "SLUICE_ADMIN_TOKEN";

/// Address of an admin listener: `127.0.0.1:9180`, or `https://gateway.internal:9180`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AdminUrl(Url);

/// Reason why a text is no address of an admin listener.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an address and a port, 127.0.0.1:9180, or https://HOST:PORT, and nothing behind it")]
struct AdminUrlError;

impl FromStr for AdminUrl {
    type Err = AdminUrlError;

    fn from_str(text: &str) -> Result<Self, AdminUrlError> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return url("http", address).ok_or(AdminUrlError).map(Self);
        }
        let url: Url = text.parse().map_err(|_| AdminUrlError)?;
        let is_bare = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        is_bare.then_some(Self(url)).ok_or(AdminUrlError)
    }
}

/// Which admin listener is asked, and how.
pub(super) struct Target {
    /// Its address.
    pub(super) url: Url,
    /// Header that says who asks.
    pub(super) token: Option<HeaderValue>,
    /// Authorities that its certificate must come from.
    pub(super) roots: Roots,
}

impl Target {
    /// The one that the arguments or the configuration name.
    ///
    /// # Errors
    /// If neither does, or something that they name cannot be read.
    pub(super) fn of(args: &AdminArgs) -> anyhow::Result<Self> {
        // Mistakes elsewhere in the file do not matter here.
        let config = match (&args.admin, &args.config) {
            (Some(_), None) => None,
            _ => Some(Config::load(args.config.as_deref()).map_err(Mistakes)?.0),
        };
        let admin = config.as_ref().map(|config| &config.server.admin);
        let url = match (&args.admin, admin) {
            (Some(text), _) => text.parse::<AdminUrl>().context("--admin")?.0,
            (None, Some(admin)) => configured(admin)?,
            (None, None) => bail!("say with --admin where the admin listener is"),
        };
        let token = token(args, admin.map(|admin| &admin.tokens))?;
        ensure!(
            token.is_none() || url.scheme() == "https" || is_local(&url),
            "the token would be readable on its way to {}: use https://",
            url.authority()
        );
        let roots = match (&args.ca, url.scheme()) {
            (Some(file), "https") => Roots::read(&Authorities::File(file.clone()))?,
            (Some(_), _) => bail!("--ca is for https://, and {} is not", url.authority()),
            (None, "https") => Roots::read(&Authorities::Platform)?,
            (None, _) => Roots::none(),
        };
        Ok(Self { url, token, roots })
    }
}

fn configured(admin: &config::Admin) -> anyhow::Result<Url> {
    let address = admin.listen.context(
        "the configuration has no admin listener: set admin_listen in [server], or say with \
         --admin where it is",
    )?;
    ensure!(
        address.port() != 0,
        "admin_listen has port 0, so its port is in the gateway's log alone: say it with --admin"
    );
    let scheme = match admin.tls {
        Some(_) => "https",
        None => "http",
    };
    let mut here = address;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => here.set_ip([127, 0, 0, 1].into()),
        IpAddr::V6(ip) if ip.is_unspecified() => here.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    url(scheme, here).with_context(|| format!("{here} is no address that can be asked"))
}

fn url(scheme: &str, address: SocketAddr) -> Option<Url> {
    Url::parse(&format!("{scheme}://{address}")).ok()
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']');
    let ip = ip.parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Token of the file or the variable that was named, or of the configuration, if there is one.
fn token(
    args: &AdminArgs,
    configured: Option<&AdminTokens>,
) -> anyhow::Result<Option<HeaderValue>> {
    let (token, from) = match (&args.token_file, std::env::var_os(VARIABLE)) {
        (Some(file), _) => {
            let shown = file.display();
            let token = text::read(file)
                .with_context(|| format!("the token file {shown} cannot be read"))?;
            (token.trim().as_bytes().to_vec(), shown.to_string())
        }
        (None, Some(token)) => {
            let token = token.into_encoded_bytes();
            (token.trim_ascii().to_vec(), VARIABLE.to_owned())
        }
        (None, None) => {
            let tokens = configured.map(|tokens| (&tokens.operate, &tokens.read));
            let token = tokens.and_then(|(operate, read)| operate.as_ref().or(read.as_ref()));
            let Some(token) = token else { return Ok(None) };
            (token.expose().to_vec(), "the configuration".to_owned())
        }
    };
    let mut header = HeaderValue::try_from([b"Bearer ", &*token].concat())
        .with_context(|| format!("the token in {from} has characters that no token has"))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_an_address_or_a_url_and_nothing_more() {
        for (text, url) in [
            ("127.0.0.1:9180", "http://127.0.0.1:9180/"),
            ("[::1]:9180", "http://[::1]:9180/"),
            (
                "https://gateway.internal:9180",
                "https://gateway.internal:9180/",
            ),
            ("http://localhost:9180/", "http://localhost:9180/"),
        ] {
            let parsed: AdminUrl = text.parse().unwrap();
            assert_eq!(parsed.0.as_str(), url);
        }
        for text in [
            "localhost:9180",
            "9180",
            "https://user:secret@gateway:9180",
            "https://gateway/status",
            "https://gateway?token=secret",
            "ftp://gateway",
        ] {
            let error = text.parse::<AdminUrl>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_loopback_is_local() {
        for (url, local) in [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://10.0.0.1:1", false),
            ("http://localhost.evil:1", false),
        ] {
            assert_eq!(is_local(&url.parse().unwrap()), local, "{url}");
        }
    }
}
