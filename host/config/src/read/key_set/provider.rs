//! Key sets whose keys are fetched from an identity provider: `jwks_url` or `issuer`.

use std::time::Duration;

use axum::http::Uri;

use super::{From, KeyKind, NamedSource};
use crate::read::Reader;
use crate::toml::{Section, Spanned, Zero};
use base::tls::client::{Authorities, Roots};
use keys::settings::{KeySource, Provider, ProviderAddress};

/// Options that are of use only with a provider.
const OPTIONS: [&str; 3] = ["jwks_ca_file", "jwks_refresh", "jwks_stale"];

/// Makes the address of a provider from the value of an option.
type MakeAddress = fn(String) -> ProviderAddress;

/// How keys are fetched.
pub(super) struct Fetching {
    authorities: Authorities,
    refresh: Duration,
    stale: Duration,
}

impl Fetching {
    /// Source that fetches keys from there.
    pub(super) fn source(self, address: ProviderAddress) -> KeySource {
        KeySource::Provider(Box::new(Provider {
            address,
            authorities: self.authorities,
            refresh: self.refresh,
            stale: self.stale,
        }))
    }
}

impl Reader<'_> {
    /// Adds the sources of a section that are not keys themselves.
    pub(super) fn provider_sources(
        &mut self,
        section: &mut Section<'_>,
        named: &mut Vec<NamedSource>,
    ) {
        let urls: [(_, MakeAddress); 2] = [
            ("jwks_url", ProviderAddress::Jwks),
            ("issuer", ProviderAddress::Issuer),
        ];
        for (key, make) in urls {
            let place = section.place_of(key);
            if let Some(url) = section.text(key) {
                self.check_url(key, &url);
                let address = Spanned {
                    value: make(url.value),
                    place: url.place,
                };
                named.push(NamedSource {
                    key,
                    place,
                    kind: KeyKind::Provider,
                    from: From::Provider(address),
                });
            }
        }
        let place = section.place_of("by_issuer");
        let is_there = section.has("by_issuer");
        let before = self.toml.diagnostics().len();
        let others = section.distinct("by_issuer");
        if !others.is_empty() {
            named.push(NamedSource {
                key: "by_issuer",
                place,
                kind: KeyKind::Choice,
                from: From::Others(others),
            });
        } else if is_there && self.toml.diagnostics().len() == before {
            let help = "name the key sets to choose from: `by_issuer = [\"ours\", \"theirs\"]`";
            self.error(&place, "`by_issuer` names no key set", help)
                .label("empty");
        }
    }

    /// Keys are public, so that whoever changes them on their way could sign tokens. So they come by
    /// HTTPS alone.
    fn check_url(&mut self, key: &str, url: &Spanned<String>) {
        let parsed: Option<Uri> = url.value.parse().ok();
        let authority = parsed.as_ref().and_then(Uri::authority);
        let scheme = parsed.as_ref().and_then(Uri::scheme_str);
        let why = match (scheme, authority) {
            (Some("https"), Some(authority)) if authority.as_str().contains('@') => {
                "it has a user name"
            }
            (Some("https"), Some(_)) if url.value.contains('#') => "it has a fragment",
            (Some("https"), Some(_)) if key == "issuer" && url.value.contains('?') => {
                "an issuer has no query (OpenID Connect Discovery 1.0, section 2)"
            }
            (Some("https"), Some(authority)) if !authority.host().is_empty() => return,
            (Some("http"), _) => {
                "keys come by https alone: on their way by http anybody can replace them"
            }
            _ => "it is not a URL that begins with https://",
        };
        let message = format!("`{key}` cannot be used: {why}");
        let help = "write it as your identity provider does: \"https://login.example.com/keys\"";
        self.error(&url.place, message, help).label("not usable");
    }

    /// Reads how keys are fetched. `None` if they are not, or after a mistake.
    pub(super) fn fetching(
        &mut self,
        section: &mut Section<'_>,
        kind: Option<KeyKind>,
    ) -> Option<Fetching> {
        if kind.is_some_and(|kind| kind != KeyKind::Provider) {
            for option in OPTIONS {
                if section.has(option)
                    && let Some(place) = section.take_out(option)
                {
                    let message = format!("`{option}` is for keys that are fetched");
                    let help = "leave it out, or write `jwks_url` or `issuer`";
                    self.error(&place, message, help).label("no meaning here");
                }
            }
        }
        let refresh = section.duration("jwks_refresh", Duration::from_mins(10), Zero::Refused);
        let place = section.place_of("jwks_stale");
        let stale = section.duration("jwks_stale", Duration::from_hours(24), Zero::Refused);
        if stale < refresh {
            let message = "`jwks_stale` is shorter than `jwks_refresh`";
            let help = "write more: keys that are too old are not used, and clients get 4012";
            self.error(&place, message, help).label("too short");
        }
        let authorities = match section.text("jwks_ca_file") {
            Some(file) => {
                let authorities = Authorities::File(self.file(&file.value));
                if let Err(error) = Roots::read(&authorities) {
                    let message =
                        format!("the provider's certificate cannot be verified: {error:#}");
                    let help = "write the path of a PEM file with the authorities that sign it";
                    self.error(&file.place, message, help);
                    return None;
                }
                authorities
            }
            None => Authorities::Platform,
        };
        Some(Fetching {
            authorities,
            refresh,
            stale,
        })
    }
}
