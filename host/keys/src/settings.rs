//! Settings of a key set: `[key_sets.NAME]`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base::diagnostics::Place;
use base::secret::Secret;
use base::tls::client::Authorities;

/// `[key_sets.NAME]`
#[derive(Debug)]
pub struct KeySet {
    /// Source of the keys.
    pub source: KeySource,
    /// File that the keys were read from. `None` if they are in the configuration itself.
    pub file: Option<PathBuf>,
    /// Accepted algorithms, by their JOSE names. At least one.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Accepted values of `iss`. Empty: `iss` is not checked.
    pub issuers: Vec<String>,
    /// Accepted values of `aud`. Empty: tokens must carry no `aud`.
    pub audiences: Vec<String>,
    /// Tolerance for `exp` and `nbf`, because clocks differ.
    pub leeway: Duration,
    /// Position of the key set in the configuration file.
    pub place: Place,
}

/// Source of the keys of a set.
pub enum KeySource {
    /// Key that is made at the first start and stored in the data folder, for development.
    Generate,
    /// Shared secret (HS256), from the configuration, another file or the environment.
    Secret(Secret),
    /// Public keys in PEM (RS256, ES256, `EdDSA`).
    Pem(Vec<u8>),
    /// A JWK set, as JSON text.
    Jwks(String),
    /// The JWK set of an identity provider, which is fetched again and again.
    Provider(Box<Provider>),
    /// Other key sets, by their names. The `iss` of a token chooses one of them.
    ByIssuer(Vec<String>),
}

/// Identity provider whose keys are fetched by HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Where its keys are.
    pub address: ProviderAddress,
    /// Authorities that sign its certificate.
    pub authorities: Authorities,
    /// Time until the keys are fetched again, where the provider names none.
    pub refresh: Duration,
    /// Time after the latest answer for which the keys are used while no other answer comes.
    pub stale: Duration,
}

/// Where the keys of an identity provider are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderAddress {
    /// URL of the JWK set.
    Jwks(String),
    /// Issuer, whose discovery document (OpenID Connect Discovery 1.0) has the URL.
    Issuer(String),
}

impl ProviderAddress {
    /// The URL, with its query.
    #[must_use]
    pub fn url(&self) -> &str {
        let (Self::Jwks(url) | Self::Issuer(url)) = self;
        url
    }

    /// The URL without its query, for logs.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.url().split(['?', '#']).next().unwrap_or_default()
    }
}

/// Prints no key. A JWK set may hold secret ones too.
impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generate => "Generate",
            Self::Secret(_) => "Secret(..)",
            Self::Pem(_) => "Pem(..)",
            Self::Jwks(_) => "Jwks(..)",
            Self::Provider(_) => "Provider(..)",
            Self::ByIssuer(_) => "ByIssuer(..)",
        })
    }
}
