//! Key sets: the keys that verify tokens, and the one that signs them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::settings::KeySource;
use base::diagnostics::{Diagnostics, Place};

use crate::clock::{Clock, TokenTimes};
use crate::errors::{KeyError, MintError};
use crate::file::KeyFile;
use crate::load::{ALGORITHMS, Key, NamedKey};
use crate::provider::{ProviderKeys, Providers};

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
        providers: &Providers,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut sets = BTreeMap::new();
        // Those that choose among others come last.
        let (chosen, choosing): (Vec<_>, Vec<_>) = key_sets
            .iter()
            .partition(|(_, set)| !matches!(set.source, KeySource::ByIssuer(_)));
        for (name, settings) in chosen.into_iter().chain(choosing) {
            match KeySet::build_among(name, settings, data_dir, providers, &sets) {
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

    /// All key sets, by their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &KeySet)> {
        self.0.iter().map(|(name, set)| (name.as_str(), &**set))
    }

    /// Keys of identity providers.
    pub fn providers(&self) -> impl Iterator<Item = &Arc<ProviderKeys>> {
        self.0.values().filter_map(|set| set.provider())
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
    /// Times of the latest tokens.
    pub(crate) clock: Clock,
}

pub(crate) enum Keys {
    /// Keys without names, at least one. The `kid` of a token is ignored.
    Unnamed(Vec<Key>),
    /// Keys of a JWK set that can verify tokens, at least one.
    Set(Vec<NamedKey>),
    /// Keys of an identity provider, which change while they are used.
    Provider(Arc<ProviderKeys>),
    /// Other key sets with their names, chosen by the `iss` of a token.
    ByIssuer(Vec<(String, Arc<KeySet>)>),
}

impl KeySet {
    /// Builds the key set `name`, which stands alone. A generated key is made if it does not exist,
    /// in the folder `keys` under `data_dir`.
    ///
    /// # Errors
    /// [`KeyError`] if the keys cannot be read, are invalid, or fit none of the allowed algorithms.
    pub fn build(
        name: &str,
        settings: &crate::settings::KeySet,
        data_dir: &Path,
    ) -> Result<Self, KeyError> {
        let alone = BTreeMap::new();
        Self::build_among(name, settings, data_dir, &Providers::default(), &alone)
    }

    /// [`KeySet::build`] for a set that may choose among these others.
    fn build_among(
        name: &str,
        settings: &crate::settings::KeySet,
        data_dir: &Path,
        providers: &Providers,
        others: &BTreeMap<String, Arc<Self>>,
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
            KeySource::Provider(provider) => {
                let keys = providers.keys(name, provider, allowed, data_dir);
                (Keys::Provider(keys), None)
            }
            KeySource::ByIssuer(names) => {
                // The mistake of one that could not be built is reported with it.
                let built = names.iter().filter_map(|name| {
                    let set = others.get(name)?;
                    Some((name.clone(), Arc::clone(set)))
                });
                (Keys::ByIssuer(built.collect()), None)
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
            clock: Clock::default(),
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

    /// Number of keys that can verify tokens. A set that chooses among others has none of its own.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.keys {
            Keys::Unnamed(keys) => keys.len(),
            Keys::Set(keys) => keys.len(),
            Keys::Provider(provider) => provider.state().keys,
            Keys::ByIssuer(_) => 0,
        }
    }

    /// Whether it has no keys of its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where its keys are from: `configuration`, `file`, `provider` or `by-issuer`.
    #[must_use]
    pub fn source(&self) -> &'static str {
        match (&self.keys, &self.file) {
            (Keys::Provider(_), _) => "provider",
            (Keys::ByIssuer(_), _) => "by-issuer",
            (_, Some(_)) => "file",
            (_, None) => "configuration",
        }
    }

    /// Identity provider that its keys are from.
    #[must_use]
    pub fn provider(&self) -> Option<&Arc<ProviderKeys>> {
        match &self.keys {
            Keys::Provider(provider) => Some(provider),
            Keys::Unnamed(_) | Keys::Set(_) | Keys::ByIssuer(_) => None,
        }
    }

    /// Reason why it rejects every token with 4012 (`auth_unavailable`), if it does.
    #[must_use]
    pub fn unavailable(&self) -> Option<String> {
        if self.file.as_ref().is_some_and(KeyFile::is_gone) {
            return Some("its file is missing or unreadable; clients get 4012".to_owned());
        }
        match &self.keys {
            Keys::Provider(provider) => {
                let state = provider.state();
                let what = match state.fetched_ms {
                    _ if state.is_good => return None,
                    None => "keys unavailable: they could not be had yet from",
                    Some(_) => {
                        "keys unavailable: they are too old, and no others could be had from"
                    }
                };
                let url = provider.settings().address.shown();
                Some(format!("{what} {url}; clients get 4012"))
            }
            Keys::ByIssuer(sets) => sets.iter().find_map(|(name, set)| {
                let reason = set.unavailable()?;
                Some(format!("key set {name}: {reason}"))
            }),
            Keys::Unnamed(_) | Keys::Set(_) => None,
        }
    }

    /// What the tokens that it has verified in the latest minutes tell of their issuer's clock.
    #[must_use]
    pub fn token_times(&self) -> TokenTimes {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.clock.times(now.as_secs())
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
            Keys::Provider(_) | Keys::ByIssuer(_) => Vec::new(),
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
