//! Refreshing of the keys of identity providers, in the background.
//!
//! One task for each provider fetches its keys: when they are due, and when a token names a key that
//! is unknown. The second kind happens once in 30 s at the most, however many such tokens come.
//! Nothing that serves a connection waits for any of this.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use base::blocking::LOADING;
use base::{metrics, text};
use keys::KeySets;
use keys::provider::{Answer, Attempt, COOL_DOWN, ProviderKeys};

mod caching;
mod fetch;

use fetch::{FetchError, Fetched, fetch};

/// Time before keys are due at which they are fetched.
const AHEAD: Duration = Duration::from_secs(5);
/// Time from a failed attempt to the next one. It doubles with each further failure, to the maximum.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Maximum number of keys of an answer with a warning each.
const MOST_WARNINGS: usize = 10;

/// Starts a task for each provider that has none.
pub(crate) fn start(key_sets: &KeySets) {
    for keys in key_sets.providers() {
        if keys.needs_refreshing() {
            tokio::spawn(refresh(Arc::downgrade(keys), keys.wanted()));
        }
    }
}

/// Fetches the keys of a provider as long as a key set has them.
async fn refresh(keys: Weak<ProviderKeys>, wanted: Arc<Notify>) {
    let mut due = Instant::now();
    let mut may_be_asked = Instant::now();
    let mut failures = 0;
    loop {
        let asked = async {
            wanted.notified().await;
            sleep_until(may_be_asked).await;
        };
        tokio::select! {
            () = sleep_until(due) => {}
            () = asked => may_be_asked = Instant::now() + COOL_DOWN,
        }
        let Some(keys) = keys.upgrade() else {
            return;
        };
        let began = Instant::now();
        due = match attempt(&keys).await {
            Ok((attempt, fresh_for)) => {
                say(&keys, &attempt, failures);
                failures = 0;
                began + fresh_for.saturating_sub(AHEAD.min(fresh_for / 10))
            }
            Err(error) => {
                failures += 1;
                failed(&keys, &error);
                Instant::now() + pause(failures)
            }
        };
    }
}

/// Time to the next attempt, with a random part so that many gateways do not ask at once.
fn pause(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10));
    doubled
        .min(LONGEST_PAUSE)
        .mul_f64(0.8 + 0.4 * fastrand::f64())
}

/// Asks a provider once, and takes its answer. Returns for how long its keys are fresh.
async fn attempt(keys: &Arc<ProviderKeys>) -> Result<(Attempt, Duration), FetchError> {
    let asked = std::time::Instant::now();
    let Fetched { content, max_age } = fetch(keys.settings(), keys.etag()).await?;
    let fresh_for = caching::fresh_for(max_age, keys.settings().refresh);
    let taking = Arc::clone(keys);
    let taken = LOADING.run(move || taking.take(Answer { asked, content }));
    let (attempt, remarks) = taken.await.map_err(FetchError::Panicked)??;
    metrics::keys_fetched(keys.key_set(), attempt.word());
    if attempt == Attempt::Fetched {
        for remark in remarks.iter().take(MOST_WARNINGS) {
            let remark = text::clean(remark, 256);
            tracing::warn!(
                key_set = keys.key_set(),
                remark,
                "a key of an identity provider is unusual"
            );
        }
    }
    Ok((attempt, fresh_for))
}

fn say(keys: &ProviderKeys, attempt: &Attempt, failures: u32) {
    let (key_set, number) = (keys.key_set(), keys.state().keys);
    let url = keys.settings().address.shown();
    if *attempt == Attempt::Fetched {
        tracing::info!(
            key_set,
            url,
            keys = number,
            "the keys of an identity provider were fetched"
        );
    } else if failures > 0 {
        tracing::info!(
            key_set,
            url,
            keys = number,
            "an identity provider answers again; its keys have not changed"
        );
    }
}

fn failed(keys: &ProviderKeys, error: &FetchError) {
    let error = text::clean(&error.to_string(), 512);
    keys.failed(&error);
    metrics::keys_fetched(keys.key_set(), Attempt::WORDS[2]);
    let key_set = keys.key_set();
    let url = keys.settings().address.shown();
    if keys.state().is_good {
        tracing::warn!(
            key_set,
            url,
            error,
            "the keys of an identity provider cannot be fetched; those that are here are used"
        );
    } else {
        tracing::error!(
            key_set,
            url,
            error,
            "the keys of an identity provider cannot be fetched, and there are none that may be \
             used; their key set rejects every token with 4012 (auth_unavailable)"
        );
    }
}
