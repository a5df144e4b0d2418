//! What the platform team says about a key set: `[key_sets.NAME]`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base::diagnostics::Place;
use base::secret::Secret;

/// `[key_sets.NAME]`
#[derive(Debug)]
pub struct KeySet {
    /// Where the keys come from.
    pub source: KeySource,
    /// The file that they were read from, unless they stand in the configuration
    /// itself.
    pub file: Option<PathBuf>,
    /// The algorithms that are accepted, by their JOSE names. Never empty.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// Values of `iss` that are accepted; empty: `iss` is not looked at.
    pub issuers: Vec<String>,
    /// Values of `aud` that are accepted; empty: a token that has an `aud` is refused.
    pub audiences: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Where it stands in the file.
    pub place: Place,
}

/// Where the keys of a set come from.
pub enum KeySource {
    /// Made at first start, kept in the data folder: for development.
    Generate,
    /// A shared secret (HS256), from the file, another file or the environment.
    Secret(Secret),
    /// A public key in PEM (RS256, ES256, `EdDSA`).
    Pem(Vec<u8>),
    /// A JWK set, as JSON text.
    Jwks(String),
}

/// Keys are no reading matter, and a JWK set may hold secret ones.
impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generate => "Generate",
            Self::Secret(_) => "Secret(..)",
            Self::Pem(_) => "Pem(..)",
            Self::Jwks(_) => "Jwks(..)",
        })
    }
}
