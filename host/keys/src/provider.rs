//! Keys of an identity provider, as they were fetched last.
//!
//! Whoever fetches them hands them in here (`sluice::providers`), and a verification only looks at
//! what is here. So no admission ever waits for a provider. Each answer replaces the whole set. If
//! no answer comes, the keys are used until they are too old, and after that their set rejects every
//! token with 4012 (`auth_unavailable`).

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use jsonwebtoken::Algorithm;
use lru::LruCache;
use tokio::sync::Notify;

use crate::errors::{KeyError, TokenError};
use crate::load::NamedKey;
use crate::settings::Provider;

mod kept;

use kept::KeptFile;

/// Time for which an answer tells which keys a provider does not have. A key that is still unknown
/// after it is asked for again.
pub const COOL_DOWN: Duration = Duration::from_secs(30);

/// Number of unknown keys that are remembered. A key that is pushed out is asked for again.
const MOST_ASKED: NonZero<usize> = NonZero::<usize>::MIN.saturating_add(1023);

/// Keys of an identity provider, and what became of the latest attempt to fetch them.
pub struct ProviderKeys {
    key_set: String,
    settings: Provider,
    algorithms: Vec<Algorithm>,
    file: KeptFile,
    current: ArcSwapOption<Current>,
    asked: Mutex<LruCache<u64, Instant>>,
    hashing: RandomState,
    wanted: Arc<Notify>,
    latest: Mutex<Option<Attempt>>,
    is_refreshed: AtomicBool,
}

/// Answer of a provider.
struct Current {
    keys: Arc<Vec<NamedKey>>,
    text: Arc<str>,
    etag: Option<String>,
    /// Time when it was asked for; `None` if an earlier process did that.
    asked: Option<Instant>,
    good_until: Instant,
    fetched_ms: u64,
}

/// Answer of a provider, as it came.
#[derive(Debug)]
pub struct Answer {
    /// Time when it was asked for.
    pub asked: Instant,
    /// The answer itself.
    pub content: Content,
}

/// Content of an answer.
#[derive(Debug)]
pub enum Content {
    /// JWK set, as JSON text, with its `ETag`.
    Keys(String, Option<String>),
    /// The keys have not changed since the `ETag` that was sent.
    NotModified,
}

/// Result of an attempt to fetch the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The provider has other keys than before.
    Fetched,
    /// The provider has the same keys as before.
    Unchanged,
    /// There was no answer, or none that could be used, for this reason.
    Failed(String),
}

impl Attempt {
    /// Names of all results in metrics.
    pub const WORDS: [&str; 3] = ["fetched", "unchanged", "failed"];

    /// Name of the result in metrics.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Fetched => Self::WORDS[0],
            Self::Unchanged => Self::WORDS[1],
            Self::Failed(_) => Self::WORDS[2],
        }
    }
}

/// What is known of the keys of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderState {
    /// Number of keys that can verify tokens.
    pub keys: usize,
    /// Time of the latest answer, in milliseconds since 1970.
    pub fetched_ms: Option<u64>,
    /// Whether the keys are there and not too old.
    pub is_good: bool,
    /// The latest attempt of this process.
    pub latest: Option<Attempt>,
}

impl ProviderKeys {
    fn new(key_set: &str, settings: &Provider, algorithms: &[Algorithm], data_dir: &Path) -> Self {
        let keys = Self {
            key_set: key_set.to_owned(),
            settings: settings.clone(),
            algorithms: algorithms.to_vec(),
            file: KeptFile::of(key_set, data_dir),
            current: ArcSwapOption::empty(),
            asked: Mutex::new(LruCache::new(MOST_ASKED)),
            hashing: RandomState::new(),
            wanted: Arc::default(),
            latest: Mutex::default(),
            is_refreshed: AtomicBool::new(false),
        };
        keys.current.store(keys.kept().map(Arc::new));
        keys
    }

    /// Answer that an earlier process kept, unless it is too old. Blocks.
    fn kept(&self) -> Option<Current> {
        let kept = self.file.read(self.settings.address.url())?;
        let age = Duration::from_millis(unix_ms().saturating_sub(kept.fetched_ms));
        let left = self.settings.stale.checked_sub(age)?;
        let loaded = crate::load::jwks(&kept.jwks, &self.algorithms).ok()?;
        Some(Current {
            keys: Arc::new(loaded.keys),
            text: kept.jwks.into(),
            etag: kept.etag,
            asked: None,
            good_until: Instant::now() + left,
            fetched_ms: kept.fetched_ms,
        })
    }

    /// Name of the key set.
    #[must_use]
    pub fn key_set(&self) -> &str {
        &self.key_set
    }

    /// Settings of the provider.
    #[must_use]
    pub fn settings(&self) -> &Provider {
        &self.settings
    }

    /// Notified when a token names a key that is unknown.
    #[must_use]
    pub fn wanted(&self) -> Arc<Notify> {
        Arc::clone(&self.wanted)
    }

    /// Whether nobody refreshes the keys yet. The caller is the one who does from now on.
    #[must_use]
    pub fn needs_refreshing(&self) -> bool {
        !self.is_refreshed.swap(true, Ordering::Relaxed)
    }

    /// `ETag` of the keys that are here.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        self.current.load().as_ref()?.etag.clone()
    }

    /// What is known of the keys.
    #[must_use]
    pub fn state(&self) -> ProviderState {
        let current = self.current.load();
        let current = current.as_ref();
        ProviderState {
            keys: current.map_or(0, |current| current.keys.len()),
            fetched_ms: current.map(|current| current.fetched_ms),
            is_good: current.is_some_and(|current| Instant::now() < current.good_until),
            latest: lock(&self.latest).clone(),
        }
    }

    /// Takes an answer, and keeps it on the disk. Returns what there is to say of its keys, a
    /// sentence each. An answer that cannot be used changes nothing. Blocks.
    ///
    /// # Errors
    /// [`KeyError`] if no key of the answer can verify a token.
    pub fn take(&self, answer: Answer) -> Result<(Attempt, Vec<String>), KeyError> {
        let before = self.current.load_full();
        let (keys, text, etag, attempt, remarks) = match (answer.content, before) {
            (Content::NotModified, Some(before)) => (
                Arc::clone(&before.keys),
                Arc::clone(&before.text),
                before.etag.clone(),
                Attempt::Unchanged,
                Vec::new(),
            ),
            (Content::NotModified, None) => {
                let help = "correct the provider, or what is between it and the gateway";
                let problem = "the answer is that nothing has changed, but there were no keys";
                return Err(KeyError::new(problem, help));
            }
            (Content::Keys(text, etag), before) => {
                let loaded = crate::load::jwks(&text, &self.algorithms)?;
                let attempt = match before {
                    Some(before) if *before.keys == loaded.keys => Attempt::Unchanged,
                    _ => Attempt::Fetched,
                };
                (
                    Arc::new(loaded.keys),
                    text.into(),
                    etag,
                    attempt,
                    loaded.remarks,
                )
            }
        };
        let current = Current {
            keys,
            text,
            etag,
            asked: Some(answer.asked),
            good_until: answer.asked + self.settings.stale,
            fetched_ms: unix_ms(),
        };
        let kept = self.file.write(self.settings.address.url(), &current);
        self.current.store(Some(Arc::new(current)));
        *lock(&self.latest) = Some(attempt.clone());
        if let Err(error) = kept {
            let file = self.file.path().display();
            tracing::warn!(
                key_set = self.key_set, %file, %error,
                "the keys of an identity provider cannot be kept on the disk; a start while the \
                 provider is away would have none"
            );
        }
        Ok((attempt, remarks))
    }

    /// Remembers that an attempt failed, for this reason.
    pub fn failed(&self, reason: &str) {
        *lock(&self.latest) = Some(Attempt::Failed(reason.to_owned()));
    }

    /// Calls `look` with the keys.
    ///
    /// # Errors
    /// [`TokenError::Unavailable`] if there are none, or if they are too old. Also if `look` finds no
    /// key for the token and the provider was not asked since: it may have a new one.
    pub(crate) fn with<T>(
        &self,
        kid: Option<&str>,
        look: impl FnOnce(&[NamedKey]) -> Result<T, TokenError>,
    ) -> Result<T, TokenError> {
        let current = self.current.load();
        let now = Instant::now();
        let Some(current) = current.as_ref().filter(|current| now < current.good_until) else {
            return Err(TokenError::Unavailable);
        };
        match look(&current.keys) {
            // Without a name, the key may be a new one too.
            Err(error @ (TokenError::UnknownKey | TokenError::BadSignature))
                if error == TokenError::UnknownKey || kid.is_none() =>
            {
                Err(self.unknown(kid, current, now, error))
            }
            found => found,
        }
    }

    /// Error for a token whose key is unknown: `error` if the provider has just said that it has no
    /// such key.
    fn unknown(
        &self,
        kid: Option<&str>,
        current: &Current,
        now: Instant,
        error: TokenError,
    ) -> TokenError {
        let name = self.hashing.hash_one(kid);
        let mut asked = lock(&self.asked);
        let since = asked.get(&name).copied();
        let was_answered = since.is_some_and(|since| current.asked >= Some(since));
        let is_recent = current
            .asked
            .is_some_and(|at| now.saturating_duration_since(at) < COOL_DOWN);
        if was_answered && is_recent {
            return error;
        }
        if since.is_none() || was_answered {
            asked.put(name, now);
        }
        drop(asked);
        self.wanted.notify_one();
        TokenError::Unavailable
    }
}

impl fmt::Debug for ProviderKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderKeys")
            .field("key_set", &self.key_set)
            .finish_non_exhaustive()
    }
}

/// Keys of all identity providers, shared by the generations that use the same ones. So a reload
/// fetches nothing again.
#[derive(Debug, Default)]
pub struct Providers(Mutex<Vec<Weak<ProviderKeys>>>);

impl Providers {
    /// Keys of a provider: those that are in use, or else those that an earlier process kept.
    /// Blocks.
    pub(crate) fn keys(
        &self,
        key_set: &str,
        settings: &Provider,
        algorithms: &[Algorithm],
        data_dir: &Path,
    ) -> Arc<ProviderKeys> {
        let mut known = lock(&self.0);
        known.retain(|keys| keys.strong_count() > 0);
        let is_it = |keys: &Arc<ProviderKeys>| {
            keys.key_set == key_set && keys.settings == *settings && keys.algorithms == algorithms
        };
        if let Some(keys) = known.iter().filter_map(Weak::upgrade).find(is_it) {
            return keys;
        }
        let keys = ProviderKeys::new(key_set, settings, algorithms, data_dir);
        let keys = Arc::new(keys);
        known.push(Arc::downgrade(&keys));
        keys
    }
}

// What is in these locks is right at every step, so poisoning does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_ms() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
