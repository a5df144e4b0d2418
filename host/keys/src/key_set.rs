//! Key sets: the keys that verify tokens, and the one that signs them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::settings::KeySource;
use base::diagnostics::{Diagnostics, Place};

use crate::errors::{KeyError, MintError};
use crate::file::KeyFile;
use crate::load::{ALGORITHMS, Key, NamedKey};

/// Maximum number of keys of a set with a warning each.
const MOST_WARNINGS: usize = 10;

/// All configured key sets, by name.
#[derive(Debug, Default)]
pub struct KeySets(BTreeMap<String, Arc<KeySet>>);

impl KeySets {
    /// Builds every key set. A set that cannot be built is left out, and its mistake is reported.
    pub fn build(
        key_sets: &BTreeMap<String, crate::settings::KeySet>,
        data_dir: &Path,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut sets = BTreeMap::new();
        for (name, settings) in key_sets {
            match KeySet::build(name, settings, data_dir) {
                Ok(set) => {
                    set.warn(name, &settings.place, diagnostics);
                    sets.insert(name.clone(), Arc::new(set));
                }
                Err(error) => {
                    let problem = format!("key set `{name}`: {}", error.problem);
                    diagnostics.error(&settings.place, problem, error.help);
                }
            }
        }
        Self(sets)
    }

    /// Key sets that were built already.
    pub fn of(sets: impl IntoIterator<Item = (String, Arc<KeySet>)>) -> Self {
        Self(sets.into_iter().collect())
    }

    /// Checks whether the keys' files can still be read. Blocks.
    pub fn look_again(&self) {
        for (name, set) in &self.0 {
            if let Some(file) = &set.file {
                file.look(name);
            }
        }
    }

    /// Names of the sets whose file was missing or unreadable at the last check.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let is_gone = |set: &KeySet| set.file.as_ref().is_some_and(KeyFile::is_gone);
        let missing = self.0.iter().filter(|(_, set)| is_gone(set));
        missing.map(|(name, _)| name.clone()).collect()
    }

    /// Logs which missing keys are available again, when their set was replaced by one from the
    /// same file.
    pub fn say_that_they_are_back(&self) {
        for (name, set) in &self.0 {
            if let Some(file) = set.file.as_ref().filter(|file| file.is_gone()) {
                file.is_back(name);
            }
        }
    }

    /// Key set by its name in the configuration.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<KeySet>> {
        self.0.get(name)
    }
}

/// Keys of one set, and the claims that its tokens must have.
pub struct KeySet {
    pub(crate) keys: Keys,
    /// File of the keys, unless they are in the configuration itself.
    pub(crate) file: Option<KeyFile>,
    /// Key that signs tokens. Only a shared secret can.
    pub(crate) signing: Option<EncodingKey>,
    /// Warnings about the keys, for the operator.
    pub(crate) remarks: Vec<String>,
    pub(crate) issuers: Vec<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) leeway_seconds: u64,
}

pub(crate) enum Keys {
    /// Keys without names, at least one. The `kid` of a token is ignored.
    Unnamed(Vec<Key>),
    /// Keys of a JWK set that can verify tokens, at least one.
    Set(Vec<NamedKey>),
}

impl KeySet {
    /// Builds the key set `name`. A generated key is made if it does not exist, in the folder
    /// `keys` under `data_dir`.
    ///
    /// # Errors
    /// [`KeyError`] if the keys cannot be read, are invalid, or fit none of the allowed algorithms.
    pub fn build(
        name: &str,
        settings: &crate::settings::KeySet,
        data_dir: &Path,
    ) -> Result<Self, KeyError> {
        install_provider();
        if let Some(unknown) = settings.algorithms.iter().find(|a| !ALGORITHMS.contains(a)) {
            return Err(KeyError::new(
                format!("algorithm {unknown:?} is not supported"),
                "use HS256, RS256, ES256 or EdDSA",
            ));
        }
        let allowed = &settings.algorithms;
        let mut remarks = Vec::new();
        let (keys, signing) = match &settings.source {
            KeySource::Generate => shared(
                crate::generated::load_or_make(name, data_dir)?.expose(),
                allowed,
            )?,
            KeySource::Secret(secret) => shared(secret.expose(), allowed)?,
            KeySource::Pem(pem) => {
                let loaded = crate::load::pem(pem, allowed)?;
                remarks = loaded.remarks;
                (Keys::Unnamed(loaded.keys), None)
            }
            KeySource::Jwks(json) => {
                let loaded = crate::load::jwks(json, allowed)?;
                remarks = loaded.remarks;
                (Keys::Set(loaded.keys), None)
            }
        };
        Ok(Self {
            keys,
            remarks,
            file: settings.file.as_deref().map(KeyFile::at),
            signing,
            issuers: settings.issuers.clone(),
            audiences: settings.audiences.clone(),
            leeway_seconds: settings.leeway.as_secs(),
        })
    }

    /// Warns of each key that is not used. An operator may count on it.
    fn warn(&self, name: &str, place: &Place, diagnostics: &mut Diagnostics) {
        for remark in self.remarks.iter().take(MOST_WARNINGS) {
            let message = format!("key set `{name}`: {remark}");
            let help = "have the issuer correct it, if tokens are signed with that key; the others \
                        are used";
            diagnostics.warning(place, message, help);
        }
        let more = self.remarks.len().saturating_sub(MOST_WARNINGS);
        if more > 0 {
            let message = format!("key set `{name}`: there is more to say of {more} more keys");
            diagnostics.warning(place, message, "correct the first ones");
        }
    }

    /// Issuer that a token made here should name.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuers.first().map(String::as_str)
    }

    /// Audience that a token made here should name.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.audiences.first().map(String::as_str)
    }

    /// Signs claims. Returns the token.
    ///
    /// # Errors
    /// [`MintError`] if the set has no shared secret.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, MintError> {
        let key = self.signing.as_ref().ok_or(MintError::NoSecret)?;
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, key)
            .map_err(|error| MintError::Signing(error.to_string()))
    }
}

fn shared(secret: &[u8], allowed: &[Algorithm]) -> Result<(Keys, Option<EncodingKey>), KeyError> {
    let key = crate::load::secret(secret, allowed)?;
    Ok((
        Keys::Unnamed(vec![key]),
        Some(EncodingKey::from_secret(secret)),
    ))
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<Algorithm> = match &self.keys {
            Keys::Unnamed(keys) => keys.iter().map(Key::algorithm).collect(),
            Keys::Set(keys) => keys.iter().map(|named| named.key.algorithm()).collect(),
        };
        f.debug_struct("KeySet")
            .field("keys", &algorithms)
            .finish_non_exhaustive()
    }
}

/// Selects the cryptography of `jsonwebtoken` for this process. Without a selection its first use
/// panics if another crate enables the other implementation too. It may be called again.
pub(crate) fn install_provider() {
    // The error says that it was selected before, which is fine.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
