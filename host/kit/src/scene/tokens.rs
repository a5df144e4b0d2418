//! Key sets that stand in for those of the configuration, and tokens that are signed with them.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use crate::fixture::Case;
use base::secret::Secret;
use config::Config;
use keys::settings::{self, KeySource};
use keys::{KeySet, KeySets};

/// Signs the tokens of cases, which no gateway ever sees.
const SECRET: &str = "a secret of nobody's, for tokens that are made up";
/// How long a token is valid that does not say.
const VALID: u64 = 3600;

/// The configuration's key sets by name, each with a secret in place of its
/// keys. What a token must say beside being signed is the configuration's.
pub(super) fn key_sets(config: &Config) -> anyhow::Result<KeySets> {
    let mut sets = Vec::new();
    for (name, set) in &config.key_sets {
        let stand_in = settings::KeySet {
            source: KeySource::Secret(Secret::new(SECRET)),
            file: None,
            algorithms: vec![jsonwebtoken::Algorithm::HS256],
            issuers: set.issuers.clone(),
            audiences: set.audiences.clone(),
            leeway: set.leeway,
            place: set.place.clone(),
        };
        sets.push((
            name.clone(),
            Arc::new(KeySet::build(name, &stand_in, &config.data_dir)?),
        ));
    }
    Ok(KeySets::of(sets))
}

/// Signs a token of these claims, with what every token has added.
pub(super) fn sign(
    case: &Case,
    claims: &Map<String, Value>,
    config: &Config,
    key_sets: &KeySets,
) -> anyhow::Result<String> {
    let names: Vec<&str> = config.key_sets.keys().map(String::as_str).collect();
    let name = match (case.key_set.as_deref(), names.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, []) => {
            bail!("a token needs a key set: add a section [key_sets.NAME] to the configuration")
        }
        (None, several) => bail!(
            "say whose token it is: key_set = one of {}",
            several.join(", ")
        ),
    };
    let keys = key_sets.get(name).with_context(|| {
        format!(
            "there is no key set \"{name}\"; there are {}",
            names.join(", ")
        )
    })?;
    let now = case.clock / 1000;
    let mut claims = claims.clone();
    let mut default = |claim: &str, value: Option<Value>| {
        if let Some(value) = value {
            claims.entry(claim).or_insert(value);
        }
    };
    default("iss", keys.issuer().map(Into::into));
    default("aud", keys.audience().map(Into::into));
    default("iat", Some(now.into()));
    default("exp", Some((now + VALID).into()));
    Ok(keys.sign(&claims)?)
}
