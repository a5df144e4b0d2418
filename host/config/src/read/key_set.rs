//! `[key_sets.NAME]`. The key itself is checked when it is loaded.

use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::Reader;
use crate::toml::{Section, Spanned, Zero};
use base::diagnostics::Place;
use base::files::{pem, text};
use base::secret::Secret;
use keys::settings::{KeySet, KeySource, ProviderAddress};

mod by_issuer;
mod provider;

use provider::Fetching;

/// Algorithms that the gateway verifies (RFC 7518 section 3.1, RFC 8037).
const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("HS256", Algorithm::HS256),
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

const SOURCES: &str = "set one of: `generate = true`, `secret`, `secret_env`, `secret_file`, `pem`, \
                       `pem_file`, `jwks`, `jwks_file`, `jwks_url`, `issuer`, `by_issuer`";

/// KeyKind of key in a source. It determines the algorithms that fit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Shared,
    Pem,
    Jwks,
    Provider,
    /// No key: a choice among other key sets.
    Choice,
}

/// Source that the section names.
struct NamedSource {
    key: &'static str,
    place: Place,
    kind: KeyKind,
    from: From,
}

enum From {
    Generated,
    Inline(Spanned<String>),
    Environment(Spanned<String>),
    File(Spanned<String>),
    Provider(Spanned<ProviderAddress>),
    Others(Vec<Spanned<String>>),
}

impl Reader<'_> {
    pub(super) fn key_set(&mut self, mut section: Section<'_>) -> Option<KeySet> {
        let named = self.sources(&mut section);
        let kind = named.first().map(|source| source.kind);
        let fetching = self.fetching(&mut section, kind);
        if kind == Some(KeyKind::Choice) {
            self.without_own_options(&mut section);
        }
        let algorithms = self.algorithms(&mut section, kind);
        let mut issuers = values(section.distinct("issuers"));
        let audiences = section.distinct("audiences");
        let leeway = section.duration("leeway", Duration::from_secs(30), Zero::Allowed);
        let place = section.place.clone();
        section.finish();
        let [source] = <[NamedSource; 1]>::try_from(named).ok()?;
        let file = match &source.from {
            From::File(path) => Some(self.relative(&path.value)),
            From::Generated
            | From::Inline(_)
            | From::Environment(_)
            | From::Provider(_)
            | From::Others(_) => None,
        };
        let source = self.key_source(source, fetching)?;
        if algorithms.is_empty() && kind != Some(KeyKind::Choice) {
            return None;
        }
        if let KeySource::Provider(provider) = &source
            && let ProviderAddress::Issuer(issuer) = &provider.address
            && issuers.is_empty()
        {
            issuers.push(issuer.clone());
        }
        Some(KeySet {
            source,
            file,
            algorithms: algorithms
                .into_iter()
                .map(|algorithm| algorithm.value)
                .collect(),
            issuers,
            audiences: values(audiences),
            leeway,
            place,
        })
    }

    /// Reads the sources of the section. Any other number than one is a mistake.
    fn sources(&mut self, section: &mut Section<'_>) -> Vec<NamedSource> {
        let before = self.toml.diagnostics().len();
        let mut named = Vec::new();
        let place = section.place_of("generate");
        match section.truth("generate") {
            Some(true) => named.push(NamedSource {
                key: "generate",
                place,
                kind: KeyKind::Shared,
                from: From::Generated,
            }),
            Some(false) => {
                let message = "`generate = false` does not say where the key comes from";
                self.error(&place, message, format!("leave it out, and {SOURCES}"));
            }
            None => {}
        }
        let inline: fn(Spanned<String>) -> From = From::Inline;
        for (key, kind, from) in [
            ("secret", KeyKind::Shared, inline),
            ("secret_env", KeyKind::Shared, From::Environment),
            ("secret_file", KeyKind::Shared, From::File),
            ("pem", KeyKind::Pem, From::Inline),
            ("pem_file", KeyKind::Pem, From::File),
            ("jwks", KeyKind::Jwks, From::Inline),
            ("jwks_file", KeyKind::Jwks, From::File),
        ] {
            let place = section.place_of(key);
            if let Some(text) = section.text(key) {
                named.push(NamedSource {
                    key,
                    place,
                    kind,
                    from: from(text),
                });
            }
        }
        self.provider_sources(section, &mut named);
        if let [first, second, ..] = named.as_slice() {
            let message = format!(
                "{} has two sources of keys: `{}` and `{}`",
                section.title, first.key, second.key
            );
            let help = "keep one; for two keys make two key sets, or one JWK set";
            let (first, second) = (first.place.clone(), second.place.clone());
            self.error(&second, message, help)
                .label("the second source")
                .also(&first, "the first source");
        }
        if named.is_empty() && self.toml.diagnostics().len() == before {
            let message = format!("{} does not say where its keys come from", section.title);
            self.error(&section.place, message, SOURCES);
        }
        named
    }

    /// Reads `algorithms`. Empty only if that is a mistake, or there is no source.
    fn algorithms(
        &mut self,
        section: &mut Section<'_>,
        kind: Option<KeyKind>,
    ) -> Vec<Spanned<Algorithm>> {
        let place = section.place_of("algorithms");
        let given = section.has("algorithms");
        let before = self.toml.diagnostics().len();
        let mut algorithms = section.choices("algorithms", &ALGORITHMS);
        if algorithms.is_empty() && self.toml.diagnostics().len() == before {
            match kind {
                Some(KeyKind::Shared) if !given => {}
                Some(KeyKind::Shared) => {
                    let help = "write [\"HS256\"], or leave `algorithms` out";
                    self.error(
                        &place,
                        "`algorithms` is empty, so no token could be accepted",
                        help,
                    )
                    .label("empty");
                }
                Some(KeyKind::Pem | KeyKind::Jwks | KeyKind::Provider) => {
                    let help = "write what your tokens are signed with: \
                                `algorithms = [\"RS256\"]`, or \"ES256\" or \"EdDSA\"";
                    let message =
                        format!("{} does not say which algorithms it accepts", section.title);
                    self.error(&place, message, help);
                }
                Some(KeyKind::Choice) | None => {}
            }
        }
        if kind == Some(KeyKind::Shared) && algorithms.is_empty() {
            algorithms.push(Spanned {
                value: Algorithm::HS256,
                place,
            });
        }
        algorithms.retain(|algorithm| match kind {
            Some(kind) => self.fits(kind, algorithm),
            None => true,
        });
        algorithms
    }

    /// Checks that an algorithm is for this kind of key. A public key that is used as a shared
    /// secret lets anybody sign (RFC 8725 section 2.1).
    fn fits(&mut self, kind: KeyKind, algorithm: &Spanned<Algorithm>) -> bool {
        let shared = algorithm.value == Algorithm::HS256;
        let (message, help) = match kind {
            KeyKind::Shared if !shared => (
                format!(
                    "{:?} needs a public key, and this key set has a shared secret",
                    algorithm.value
                ),
                "write \"HS256\", or give the public key as `pem`, `pem_file`, `jwks` or `jwks_file`",
            ),
            KeyKind::Pem if shared => (
                "HS256 needs a shared secret, and this key set has a public key".to_owned(),
                "write \"RS256\", \"ES256\" or \"EdDSA\", whichever fits the key; anybody who knows \
                 the public key could sign HS256 tokens with it",
            ),
            KeyKind::Provider if shared => (
                "HS256 needs a shared secret, which nobody may fetch".to_owned(),
                "write \"RS256\", \"ES256\" or \"EdDSA\", whichever the provider signs with",
            ),
            KeyKind::Shared
            | KeyKind::Pem
            | KeyKind::Jwks
            | KeyKind::Provider
            | KeyKind::Choice => return true,
        };
        self.error(&algorithm.place, message, help)
            .label("does not fit the key");
        false
    }

    fn key_source(&mut self, named: NamedSource, fetching: Option<Fetching>) -> Option<KeySource> {
        let key = named.key;
        let (bytes, place) = match named.from {
            From::Generated => return Some(KeySource::Generate),
            From::Provider(address) => return Some(fetching?.source(address.value)),
            From::Others(names) => return Some(KeySource::ByIssuer(values(names))),
            From::Inline(text) => (text.value.into_bytes(), text.place),
            From::Environment(name) => (self.variable(&name, "secret_file")?, name.place),
            From::File(path) => (self.key_file(key, &path)?, path.place),
        };
        match named.kind {
            KeyKind::Shared => self.shared_secret(&place, bytes).map(KeySource::Secret),
            KeyKind::Pem => {
                let text = self.key_text(&place, key, bytes)?;
                Some(KeySource::Pem(text.into_bytes()))
            }
            KeyKind::Jwks => self.key_text(&place, key, bytes).map(KeySource::Jwks),
            // They are not bytes.
            KeyKind::Provider | KeyKind::Choice => None,
        }
    }

    fn key_text(&mut self, place: &Place, key: &str, bytes: Vec<u8>) -> Option<String> {
        if pem::is_der(&bytes) {
            let message = format!("`{key}` is DER, and not PEM");
            let help = "convert it: `openssl pkey -pubin -inform der -in FILE -out FILE.pem`";
            self.error(place, message, help).label("not text");
            return None;
        }
        match text::decode(bytes) {
            Ok(text) => Some(text),
            Err(error) => {
                let help = "PEM and JWK sets are text in UTF-8 (RFC 8259 section 8.1)";
                self.error(place, format!("`{key}` cannot be read: {error}"), help)
                    .label("not text");
                None
            }
        }
    }

    /// Value of an environment variable. `or` is the option with a file instead.
    pub(super) fn variable(&mut self, name: &Spanned<String>, or: &str) -> Option<Vec<u8>> {
        let value = (self.origin.environment)(&name.value);
        if value.is_none() {
            let message = format!("the environment variable {} is not set", name.value);
            let help = format!("set it for the gateway's process, or use `{or}`");
            self.error(&name.place, message, help).label("not set");
        }
        value.map(std::ffi::OsString::into_encoded_bytes)
    }

    fn key_file(&mut self, key: &str, path: &Spanned<String>) -> Option<Vec<u8>> {
        let (file, bytes) = self.read_file(&path.value);
        match bytes {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let message = format!("`{key}` cannot be read: {}: {error}", file.display());
                let help = "correct the path (it is relative to this configuration file), \
                            or let the gateway's user read it";
                self.error(&path.place, message, help)
                    .label("cannot be read");
                None
            }
        }
    }

    fn shared_secret(&mut self, place: &Place, written: Vec<u8>) -> Option<Secret> {
        // Editors and `echo` append a newline that is not part of the secret.
        let line = written.strip_suffix(b"\n").unwrap_or(&written);
        let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
        let bytes = match text::secret(written) {
            Ok(bytes) => bytes,
            Err(error) => {
                let message = format!("the secret cannot be read: {error}");
                let help = "write it in the encoding that its other users have it in";
                self.error(place, message, help).label("not UTF-8");
                return None;
            }
        };
        if bytes.len() < line.len() {
            let message = "the secret has white space or a byte order mark around it";
            let help = "remove it; the gateway leaves it out";
            self.warning(place, message, help).label("left out");
        }
        if bytes.len() < Secret::SHORTEST {
            let message = format!(
                "the secret has {} bytes, and HS256 needs at least {} (RFC 7518 section 3.2)",
                bytes.len(),
                Secret::SHORTEST
            );
            self.error(place, message, "make one with `openssl rand -base64 48`")
                .label("too short");
            return None;
        }
        Some(Secret::new(bytes))
    }
}

fn values<T>(spanned: Vec<Spanned<T>>) -> Vec<T> {
    spanned.into_iter().map(|entry| entry.value).collect()
}
