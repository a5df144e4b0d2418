//! Key sets: which keys verify a token, and which sign one.

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

/// Keys of one set that are warned of one by one.
const MOST_WARNINGS: usize = 10;

/// All configured key sets, by name.
#[derive(Debug, Default)]
pub struct KeySets(BTreeMap<String, Arc<KeySet>>);

impl KeySets {
    /// Builds every key set. One that cannot be built is reported at its place
    /// in the configuration and left out.
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

    /// Key sets that were built elsewhere.
    pub fn of(sets: impl IntoIterator<Item = (String, Arc<KeySet>)>) -> Self {
        Self(sets.into_iter().collect())
    }

    /// Looks whether the files that keys were read from are still there, and
    /// whether all of them are. Blocks as files do.
    pub fn look_again(&self) -> Availability {
        let mut all = Availability::Whole;
        for (name, set) in &self.0 {
            let Some(file) = &set.file else { continue };
            file.look(name);
            if file.is_gone() {
                all = Availability::Lacking;
            }
        }
        all
    }

    /// Says in the log which keys could not be had until now: these have been replaced, by keys
    /// that were read from the same place.
    pub fn say_that_they_are_back(&self) {
        for (name, set) in &self.0 {
            if let Some(file) = set.file.as_ref().filter(|file| file.is_gone()) {
                file.is_back(name);
            }
        }
    }

    /// A key set by its name in the configuration.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<KeySet>> {
        self.0.get(name)
    }
}

/// Whether all keys can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// They can.
    Whole,
    /// Some cannot: tokens that need them are answered with
    /// [`TokenError::Unavailable`].
    Lacking,
}

/// Keys, and what a token must say beside being signed with one of them.
pub struct KeySet {
    pub(crate) keys: Keys,
    /// Where they were read from, unless the configuration holds them itself.
    pub(crate) file: Option<KeyFile>,
    /// Whoever can verify with a shared secret can sign with it too.
    pub(crate) signing: Option<EncodingKey>,
    /// What an operator should know of the keys.
    pub(crate) remarks: Vec<String>,
    pub(crate) issuers: Vec<String>,
    pub(crate) audiences: Vec<String>,
    pub(crate) leeway_seconds: u64,
}

pub(crate) enum Keys {
    /// Keys that have no names: a token's `kid` is not looked at. Never empty.
    Unnamed(Vec<Key>),
    /// The keys of a JWK set that may verify something. Never empty.
    Set(Vec<NamedKey>),
}

impl KeySet {
    /// Builds the key set `name`. A generated key is made here when it does
    /// not exist yet, in the folder `keys` under `data_dir`.
    ///
    /// # Errors
    /// [`KeyError`] when the keys cannot be read, are not what they should be,
    /// or fit none of the allowed algorithms.
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

    /// Says which keys are not used, and why: each may be one that somebody counts on.
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

    /// The issuer that a token made here should name.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuers.first().map(String::as_str)
    }

    /// The audience that a token made here should name.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.audiences.first().map(String::as_str)
    }

    /// Signs claims into a token.
    ///
    /// # Errors
    /// [`MintError`] when the set has no shared secret.
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

/// Chooses the cryptography of `jsonwebtoken` for this process. Without it the
/// first use panics as soon as some crate in the tree turns on the other
/// implementation as well. May be called again.
pub(crate) fn install_provider() {
    // The error says that it was installed before, which is what is wanted.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
