//! Keys that somebody fetches from an identity provider.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{claims, verdict};
use crate::fixtures::*;
use crate::provider::{Answer, Attempt, Content, ProviderKeys};
use crate::settings::{self, KeySource, Provider, ProviderAddress};
use crate::{ALGORITHMS, KeySet, TokenError};
use base::tls::client::Authorities;

const MINUTE: Duration = Duration::from_mins(1);

fn settings_of(url: &str, stale: Duration) -> settings::KeySet {
    let provider = Provider {
        address: ProviderAddress::Jwks(url.to_owned()),
        authorities: Authorities::Platform,
        refresh: MINUTE,
        stale,
    };
    settings(KeySource::Provider(Box::new(provider)), &ALGORITHMS)
}

fn set_in(data_dir: &Path, url: &str, stale: Duration) -> (KeySet, Arc<ProviderKeys>) {
    let set = KeySet::build("test", &settings_of(url, stale), data_dir).unwrap();
    let keys = Arc::clone(set.provider().unwrap());
    (set, keys)
}

fn take(keys: &ProviderKeys, issuer: &Issuer, kid: &str) -> Attempt {
    let text = json!({"keys": [issuer.jwk(&json!({"kid": kid}))]}).to_string();
    let answer = Answer {
        asked: Instant::now(),
        content: Content::Keys(text, Some("\"1\"".to_owned())),
    };
    keys.take(answer).unwrap().0
}

fn token(issuer: &Issuer, kid: &str) -> String {
    issuer.token(&json!({"kid": kid}), &claims())
}

#[test]
fn keys_that_were_never_fetched_are_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let (set, _) = set_in(folder.path(), "https://a/", MINUTE);
    let verdict = verdict(&set, &token(&RSA, "a"));
    assert_eq!(verdict, Err(TokenError::Unavailable));
    assert!(set.unavailable().unwrap().contains("https://a/"));
}

#[test]
fn each_answer_replaces_all_keys_and_an_unusable_one_none() {
    let folder = tempfile::tempdir().unwrap();
    let (set, keys) = set_in(folder.path(), "https://a/", MINUTE);
    assert_eq!(take(&keys, &RSA, "a"), Attempt::Fetched);
    assert_eq!(verdict(&set, &token(&RSA, "a")), Ok(()));
    assert_eq!(take(&keys, &RSA, "a"), Attempt::Unchanged);
    assert_eq!(take(&keys, &EC, "b"), Attempt::Fetched);
    assert_eq!(verdict(&set, &token(&EC, "b")), Ok(()));
    assert!(verdict(&set, &token(&RSA, "a")).is_err());
    for unusable in ["", "[]", r#"{"keys": []}"#, r#"{"keys": [{"kty": "RSA"}]}"#] {
        let answer = Answer {
            asked: Instant::now(),
            content: Content::Keys(unusable.to_owned(), None),
        };
        assert!(keys.take(answer).is_err(), "{unusable}");
        assert_eq!(verdict(&set, &token(&EC, "b")), Ok(()));
    }
    let answer = Answer {
        asked: Instant::now(),
        content: Content::NotModified,
    };
    assert_eq!(keys.take(answer).unwrap().0, Attempt::Unchanged);
    assert_eq!(verdict(&set, &token(&EC, "b")), Ok(()));
}

#[test]
fn a_key_is_unknown_only_once_the_provider_was_asked_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (set, keys) = set_in(folder.path(), "https://a/", MINUTE);
    take(&keys, &RSA, "a");
    for number in 0..1000 {
        let token = token(&OTHER_RSA, &format!("k{number}"));
        assert_eq!(verdict(&set, &token), Err(TokenError::Unavailable));
    }
    // Whoever has no name for its key is in the same place.
    let nameless = OTHER_RSA.token(&json!({}), &claims());
    assert_eq!(verdict(&set, &nameless), Err(TokenError::Unavailable));
    // A bad signature of a known key needs no other keys.
    let forged = token(&OTHER_RSA, "a");
    assert_eq!(verdict(&set, &forged), Err(TokenError::BadSignature));
    take(&keys, &RSA, "a");
    let unknown = verdict(&set, &token(&OTHER_RSA, "k0"));
    assert_eq!(unknown, Err(TokenError::UnknownKey));
    assert_eq!(verdict(&set, &nameless), Err(TokenError::BadSignature));
    let new = verdict(&set, &token(&OTHER_RSA, "another"));
    assert_eq!(new, Err(TokenError::Unavailable));
}

#[test]
fn keys_that_are_too_old_are_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let (set, keys) = set_in(folder.path(), "https://a/", Duration::ZERO);
    take(&keys, &RSA, "a");
    let verdict = verdict(&set, &token(&RSA, "a"));
    assert_eq!(verdict, Err(TokenError::Unavailable));
    assert!(set.unavailable().unwrap().contains("too old"));
    // Neither are they read again after a restart.
    let (set, keys) = set_in(folder.path(), "https://a/", Duration::ZERO);
    assert_eq!((set.len(), keys.state().fetched_ms), (0, None));
}

#[test]
fn the_latest_keys_outlive_the_process_and_belong_to_their_url() {
    let folder = tempfile::tempdir().unwrap();
    let (_, keys) = set_in(folder.path(), "https://a/?x", MINUTE);
    take(&keys, &RSA, "a");
    let (set, keys) = set_in(folder.path(), "https://a/?x", MINUTE);
    assert_eq!(verdict(&set, &token(&RSA, "a")), Ok(()));
    assert_eq!(keys.etag().as_deref(), Some("\"1\""));
    let other = verdict(&set, &token(&EC, "b"));
    assert_eq!(other, Err(TokenError::Unavailable));
    let (set, _) = set_in(folder.path(), "https://a/?y", MINUTE);
    let elsewhere = verdict(&set, &token(&RSA, "a"));
    assert_eq!(elsewhere, Err(TokenError::Unavailable));
}
