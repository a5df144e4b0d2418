//! Options of `[routes.NAME]` about who may connect, and how often.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::HeaderName;

use super::Reader;
use super::paths::parameters;
use crate::toml::{Section, Spanned, Zero};
use base::credentials;
use session::facts;
use session::origin::Origins;
use session::rate_limit::{Allowance, KeyPart};

impl Reader<'_> {
    /// Reads `origins`. An entry that can never match is a mistake.
    pub(super) fn origins(&mut self, section: &mut Section<'_>) -> Origins {
        let mut origins = Vec::new();
        for origin in section.distinct("origins") {
            match origin.value.parse() {
                Ok(listed) => origins.push(listed),
                Err(error) => {
                    let message = format!("\"{}\" is not an origin: {error}", origin.value);
                    let help = "write scheme, host and port as browsers send them: \
                                \"https://app.example.com\", or \"https://*.example.com\" for all \
                                hosts below it; \"*\" is any";
                    self.error(&origin.place, message, help)
                        .label("not an origin");
                }
            }
        }
        Origins::new(origins)
    }

    /// Reads `subprotocols`. Each must be a token (RFC 6455, section 4.1), because it is sent in a
    /// header.
    pub(super) fn subprotocols(&mut self, section: &mut Section<'_>) -> Vec<String> {
        let mut subprotocols = Vec::new();
        for subprotocol in section.distinct("subprotocols") {
            if facts::is_entry(&subprotocol.value) {
                let message = format!(
                    "\"{}\" would be taken for a token, and never chosen",
                    subprotocol.value
                );
                let help = "use a name that does not begin with \"sluice.bearer.\"";
                self.error(&subprotocol.place, message, help)
                    .label("a token");
            } else if subprotocol.value.bytes().all(is_token_byte) {
                subprotocols.push(subprotocol.value);
            } else {
                let message = format!("\"{}\" is not the name of a subprotocol", subprotocol.value);
                let help = "use letters, digits and any of !#$%&'*+-.^_`|~ only";
                self.error(&subprotocol.place, message, help)
                    .label("not a token");
            }
        }
        subprotocols
    }

    /// Reads the rate limit. It is off without `rate_attempts`.
    pub(super) fn rate_limit(
        &mut self,
        section: &mut Section<'_>,
        paths: &[String],
    ) -> Option<Allowance> {
        let attempts = section.count("rate_attempts", 0, Zero::Refused);
        let per = section.duration("rate_per", Duration::from_secs(60), Zero::Refused);
        let key = if section.has("rate_key") {
            section
                .distinct("rate_key")
                .iter()
                .filter_map(|part| self.key_part(part, paths))
                .collect()
        } else {
            section.texts("rate_key");
            // The default has nothing that a client can choose, because each choice would count as
            // another client.
            vec![KeyPart::Remote]
        };
        let attempts = NonZeroU32::new(u32::try_from(attempts).unwrap_or(u32::MAX));
        let Some(attempts) = attempts else {
            self.check_rate(&section.title, per, &key);
            return None;
        };
        Some(Allowance { attempts, per, key })
    }

    fn key_part(&mut self, part: &Spanned<String>, paths: &[String]) -> Option<KeyPart> {
        let named = match part.value.split_once('.') {
            None if part.value == "remote" => Some(KeyPart::Remote),
            Some(("param", name)) => Some(KeyPart::Param(name.to_owned())),
            Some(("query", name)) => Some(KeyPart::Query(name.to_owned())),
            Some(("header", name)) => Some(KeyPart::Header(name.to_owned())),
            _ => None,
        };
        let is_withheld = match &named {
            Some(KeyPart::Query(name)) => credentials::is_parameter(name),
            Some(KeyPart::Header(name)) => {
                HeaderName::try_from(name.as_str()).is_ok_and(|name| credentials::is_header(&name))
            }
            Some(KeyPart::Remote | KeyPart::Param(_)) | None => false,
        };
        if is_withheld {
            let message = format!(
                "\"{}\" is a credential, which cannot be part of the key",
                part.value
            );
            let help = "use \"remote\", or a parameter or header that is not a credential";
            self.error(&part.place, message, help).label("withheld");
            return None;
        }
        let leads_nowhere = match &named {
            Some(KeyPart::Param(wanted)) => {
                !paths.is_empty()
                    && !paths
                        .iter()
                        .any(|path| parameters(path).any(|name| name == wanted))
            }
            Some(KeyPart::Header(name)) => HeaderName::try_from(name.as_str()).is_err(),
            Some(_) | None => false,
        };
        if leads_nowhere {
            let message = format!("no client has \"{}\" on this route", part.value);
            let help = "name a parameter that a path of the route has, or the name of a header";
            self.error(&part.place, message, help).label("never there");
            return None;
        }
        if named.is_none() {
            let message = format!("\"{}\" does not distinguish clients", part.value);
            let help = "use \"remote\", \"param.NAME\", \"query.NAME\" or \"header.NAME\"";
            self.error(&part.place, message, help).label("not a fact");
        }
        named
    }
}

/// Whether a byte may be in a token (RFC 9110, section 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
