//! Tokens for development. They have the same claims as those of deployed clients, and are signed
//! with a shared secret.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use serde::Serialize;

use crate::cli::TokenArgs;
use base::diagnostics::Mistakes;
use config::Config;
use keys::settings::KeySource;
use keys::{KeySet, MintError};

/// User that a token identifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Claim `user_id`.
    pub user_id: String,
    /// Claim `tenant_id`.
    pub tenant_id: String,
    /// Claim `email`.
    pub email: String,
    /// Claim `role`.
    pub role: String,
    /// Claim `meeting_id`, which restricts the token to one meeting.
    pub meeting_id: Option<String>,
}

impl From<&TokenArgs> for Bearer {
    fn from(args: &TokenArgs) -> Self {
        Self {
            user_id: args.user.clone(),
            tenant_id: args.tenant.clone(),
            email: args.email.clone(),
            role: args.role.clone(),
            meeting_id: args.meeting.clone(),
        }
    }
}

impl Default for Bearer {
    fn default() -> Self {
        Self {
            user_id: "dev-user".to_owned(),
            tenant_id: "dev".to_owned(),
            email: "dev@example.com".to_owned(),
            role: "user".to_owned(),
            meeting_id: None,
        }
    }
}

#[derive(Serialize)]
struct TokenClaims<'a> {
    user_id: &'a str,
    tenant_id: &'a str,
    email: &'a str,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    meeting_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    iat: u64,
    exp: u64,
}

/// Makes a token that `keys` accepts from now on, for this time.
///
/// # Errors
/// [`MintError`] if the key set has no shared secret.
pub fn mint(keys: &KeySet, bearer: &Bearer, valid_for: Duration) -> Result<String, MintError> {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    keys.sign(&TokenClaims {
        user_id: &bearer.user_id,
        tenant_id: &bearer.tenant_id,
        email: &bearer.email,
        role: &bearer.role,
        meeting_id: bearer.meeting_id.as_deref(),
        iss: keys.issuer(),
        aud: keys.audience(),
        iat: now.as_secs(),
        exp: now.saturating_add(valid_for).as_secs(),
    })
}

/// Runs `sluice token`: prints a token, and nothing else, to stdout.
///
/// # Errors
/// [`Mistakes`] in the configuration, or an error of the key set.
pub fn print(args: &TokenArgs) -> anyhow::Result<()> {
    let (config, diagnostics) = Config::load(args.place.config.as_deref()).map_err(Mistakes)?;
    // `sluice serve` reports these warnings.
    drop(diagnostics.finish().map_err(Mistakes)?);
    let data_dir = args.place.data_dir.as_ref().unwrap_or(&config.data_dir);
    let keys = choose_key_set(&config, data_dir, args.key_set.as_deref())?;
    let token = mint(&keys, &Bearer::from(args), args.expires)?;
    writeln!(std::io::stdout(), "{token}").context("the token could not be printed")
}

/// Key set for making tokens: the named one, or else the only one that can. A generated key is made
/// if it does not exist. The error says what to do.
fn choose_key_set(config: &Config, data_dir: &Path, name: Option<&str>) -> anyhow::Result<KeySet> {
    let able = config.key_sets.iter().filter(|(_, settings)| {
        matches!(settings.source, KeySource::Generate | KeySource::Secret(_))
    });
    let able: Vec<&str> = able.map(|(name, _)| name.as_str()).collect();
    let name = match (name, able.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, []) => bail!(
            "no key set of this configuration can make tokens: that takes one with `generate = true` or `secret`"
        ),
        (None, several) => bail!(
            "several key sets can make tokens; choose with --key-set: {}",
            several.join(", ")
        ),
    };
    let Some(settings) = config.key_sets.get(name) else {
        let known: Vec<&str> = config.key_sets.keys().map(String::as_str).collect();
        bail!(
            "there is no key set `{name}` in this configuration; it has: {}",
            known.join(", ")
        );
    };
    KeySet::build(name, settings, data_dir).with_context(|| format!("key set `{name}`"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jsonwebtoken::Algorithm;

    use super::*;
    use base::diagnostics::Place;
    use base::secret::Secret;
    use config::{self, Server};
    use keys::settings;
    use policy::fetch::credentials::Credentials;
    use policy::settings::Decisions;

    const HOUR: Duration = Duration::from_hours(1);

    fn key_set(source: KeySource, algorithm: Algorithm) -> settings::KeySet {
        settings::KeySet {
            source,
            file: None,
            algorithms: vec![algorithm],
            issuers: vec!["our-app".to_owned(), "old-app".to_owned()],
            audiences: vec!["meetings".to_owned()],
            leeway: Duration::ZERO,
            place: Place::nowhere(),
        }
    }

    fn secret() -> settings::KeySet {
        key_set(KeySource::Secret(Secret::new([7; 32])), Algorithm::HS256)
    }

    fn config(key_sets: Vec<(&str, settings::KeySet)>) -> Config {
        Config {
            data_dir: "/nonexistent".into(),
            credentials: Credentials::default(),
            realms: Vec::new(),
            server: Server {
                listen: vec![([127, 0, 0, 1], 0).into()],
                proxy_listen: Vec::new(),
                proxies: wire::proxies::Proxies::default(),
                header_timeout: Duration::ZERO,
                drain_timeout: Duration::ZERO,
                max_connections: 1,
                max_refusals: 1,
                max_parked: 0,
                max_memory: usize::MAX,
                shares: base::permits::Shares::default(),
                tls: None,
                admin: config::Admin::default(),
                watch: config::OnChange::Wait,
            },
            traces: None,
            cluster: None,
            decisions: Decisions {
                file: None,
                max_size: 1,
                max_files: 1,
            },
            key_sets: key_sets
                .into_iter()
                .map(|(name, set)| (name.to_owned(), set))
                .collect(),
            policies: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            routes: BTreeMap::new(),
            declared: config::Declared::default(),
            lists: BTreeMap::new(),
            signatures: policy::signature::Signatures::NotAsked,
            destinations: BTreeMap::new(),
            upstream_attributes: Vec::new(),
            files: BTreeMap::new(),
            options: config::Options::default(),
        }
    }

    fn choose(config: &Config, name: Option<&str>) -> Result<KeySet, String> {
        choose_key_set(config, &config.data_dir, name).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_minted_token_is_one_that_its_key_set_accepts() {
        let keys = choose(&config(vec![("dev", secret())]), None).unwrap();
        let bearer = Bearer {
            meeting_id: Some("m1".to_owned()),
            ..Bearer::default()
        };
        let claims = keys.verify(&mint(&keys, &bearer, HOUR).unwrap()).unwrap();
        for (pointer, value) in [
            ("/user_id", "dev-user"),
            ("/tenant_id", "dev"),
            ("/email", "dev@example.com"),
            ("/role", "user"),
            ("/iss", "our-app"),
            ("/aud", "meetings"),
            ("/meeting_id", "m1"),
        ] {
            assert_eq!(claims.get(pointer).as_deref(), Some(value), "{pointer}");
        }
        let issued_at: u64 = claims.get("/iat").unwrap().parse().unwrap();
        assert_eq!(claims.expires_at(), Some(issued_at + 3600));
    }

    #[test]
    fn what_is_not_known_is_left_out_of_a_token() {
        let bare = settings::KeySet {
            issuers: Vec::new(),
            audiences: Vec::new(),
            ..secret()
        };
        let keys = choose(&config(vec![("dev", bare)]), None).unwrap();
        let claims = keys
            .verify(&mint(&keys, &Bearer::default(), HOUR).unwrap())
            .unwrap();
        for absent in ["/iss", "/aud", "/meeting_id"] {
            assert_eq!(claims.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn the_only_key_set_that_can_make_tokens_needs_no_name() {
        let public = || key_set(KeySource::Pem(Vec::new()), Algorithm::RS256);
        assert!(choose(&config(vec![("app", public()), ("dev", secret())]), None).is_ok());
        let none = choose(&config(vec![("app", public())]), None).unwrap_err();
        assert!(none.contains("generate = true"), "{none}");
        let two = choose(&config(vec![("dev", secret()), ("test", secret())]), None).unwrap_err();
        assert!(two.contains("--key-set: dev, test"), "{two}");
    }

    #[test]
    fn a_key_set_is_found_by_name() {
        let two = config(vec![("dev", secret()), ("test", secret())]);
        assert!(choose(&two, Some("test")).is_ok());
        let unknown = choose(&two, Some("prod")).unwrap_err();
        assert!(
            unknown.contains("`prod`") && unknown.contains("dev, test"),
            "{unknown}"
        );
    }

    #[test]
    fn a_key_set_that_cannot_be_built_is_named() {
        let short = key_set(KeySource::Secret(Secret::new("short")), Algorithm::HS256);
        let error = choose(&config(vec![("dev", short)]), None).unwrap_err();
        assert!(
            error.contains("`dev`") && error.contains("5 bytes"),
            "{error}"
        );
    }
}
