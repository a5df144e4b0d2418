//! Settings of a key set: `[key_sets.NAME]`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base::diagnostics::Place;
use base::secret::Secret;

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
}

/// Prints no key. A JWK set may hold secret ones too.
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
