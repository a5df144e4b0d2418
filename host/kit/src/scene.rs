//! The world of one case: a clock that only a window moves, keys that are good for
//! nothing else, and connections that are not there. The calls are the real
//! ones: tokens are verified, and claims are taken in a real registry.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde_json::{Map, Value};

use super::fixture::{Case, Token};
use base::rejection::Rejection;
use base::secret::Secret;
use config::{self, Config};
use keys::settings::{self, KeySource};
use keys::{Claims, KeySet, KeySets, TokenError};
use policy::Ending;
use policy::bindings::sluice::policy::log::Level;
use policy::counters::{Account, Change, CounterError, Counters};
use policy::window::Window;
use policy::world::World;
use session::facts::{self, Facts};
use session::handshake::HandshakeMode;
use session::registry::{ClaimError, Registry, Session, SessionGuard};

/// Signs the tokens of cases, which no gateway ever sees.
const SECRET: &str = "a secret of nobody's, for tokens that are made up";
/// How long the counters of a case last: it is over long before.
const LIFE: Duration = Duration::from_hours(1);
/// How long a token is valid that does not say.
const VALID: u64 = 3600;

/// World of one case, and the connections in it.
pub struct Scene {
    /// What the policy's calls work on.
    pub world: Arc<SceneWorld>,
    /// The connection that is decided about.
    pub connection: SessionGuard,
    /// Its handshake, where it sends one.
    pub handshake: Option<Arc<str>>,
    /// What it sends while it streams.
    pub windows: Vec<Arc<Window>>,
    /// How it ends.
    pub ending: Option<Arc<Ending>>,
    /// The other connections, in the order of the case.
    pub others: Vec<SessionGuard>,
}

/// What stands behind the policy's calls.
pub struct SceneWorld {
    now_ms: AtomicU64,
    key_sets: KeySets,
    fault: Option<TokenError>,
    registry: Registry,
    counters: Counters,
    /// Since when the other connections hold their keys.
    since: BTreeMap<String, u64>,
    log: Mutex<Vec<String>>,
}

impl Scene {
    /// Sets up a case's world for the policy `name`.
    ///
    /// # Errors
    /// Where the case asks for what cannot be: a path without a route, a key
    /// set that is not there.
    pub fn of(case: &Case, name: &str, config: &Config) -> anyhow::Result<Self> {
        let key_sets = key_sets(config)?;
        let token = match &case.token {
            Token::Claims(claims) => Some(sign(case, claims, config, &key_sets)?),
            Token::Fault(TokenError::Missing) => None,
            Token::Fault(_) => Some("no.good.token".to_owned()),
        };
        let fault = match &case.token {
            Token::Fault(fault) => Some(*fault),
            Token::Claims(_) => None,
        };
        let registry = Registry::default();
        let connection = SessionGuard::new(
            facts(case, name, config, token.as_deref())?,
            registry.clone(),
        );
        leave(&connection, &case.attributes)?;
        let mut others = Vec::new();
        for other in &case.sessions {
            let facts = Facts::new(
                other.session_id.as_str().into(),
                "".into(),
                &Uri::from_static("/"),
                Vec::new(),
                HeaderMap::new(),
                ([192, 0, 2, 2], 50_000).into(),
            );
            let guard = SessionGuard::new(facts, registry.clone());
            leave(&guard, &other.attributes)?;
            registry
                .claim(guard.session(), &other.key)
                .with_context(|| format!("the key \"{}\" of `sessions`", other.key))?;
            others.push(guard);
        }
        let counters = Counters::default();
        for (key, value) in &case.counters {
            let change = Change::Replace {
                value: *value,
                life: LIFE,
            };
            counters
                .change(Account::of(name, usize::MAX), key, change)
                .with_context(|| format!("the counter \"{key}\""))?;
        }
        let since = case
            .sessions
            .iter()
            .map(|other| (other.session_id.clone(), other.since));
        let world = Arc::new(SceneWorld {
            now_ms: case.clock.into(),
            key_sets,
            fault,
            registry,
            counters,
            since: since.collect(),
            log: Mutex::default(),
        });
        Ok(Self {
            world,
            connection,
            handshake: case.handshake.as_ref().map(handshake),
            windows: case.windows.clone(),
            ending: case.ending.clone(),
            others,
        })
    }
}

impl SceneWorld {
    /// Lets the time of a window pass.
    pub fn pass(&self, window: &Window) {
        let ms = u64::try_from(window.length.as_millis()).unwrap_or(u64::MAX);
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// The lines that the policy has logged so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether this connection holds a key: whether it may take it.
    #[must_use]
    pub fn holds(&self, connection: &SessionGuard, key: &str) -> bool {
        let held_before = self.registry.len();
        self.registry.claim(connection.session(), key).is_ok() && self.registry.len() == held_before
    }

    /// What a counter of the policy stands at.
    #[must_use]
    pub fn counter(&self, policy: &str, key: &str) -> i64 {
        self.counters
            .change(Account::of(policy, usize::MAX), key, Change::None)
            .unwrap_or_default()
    }

    fn as_told<T>(&self, result: Result<T, ClaimError>) -> Result<T, ClaimError> {
        result.map_err(|error| match error {
            ClaimError::Held(mut holder) => {
                holder.since_ms = self
                    .since
                    .get(&holder.session_id)
                    .copied()
                    .unwrap_or_else(|| self.now_ms());
                ClaimError::Held(holder)
            }
            other => other,
        })
    }
}

impl World for SceneWorld {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn verify(&self, session: &Session, key_set: &str) -> Option<Result<Claims, TokenError>> {
        let keys = self.key_sets.get(key_set)?;
        Some(match (self.fault, session.facts.token()) {
            (Some(fault), _) => Err(fault),
            (None, Some(token)) => keys.verify_at(&token, self.now_ms() / 1000),
            (None, None) => Err(TokenError::Missing),
        })
    }

    fn claim(&self, session: &Arc<Session>, key: &str) -> Result<(), ClaimError> {
        self.as_told(self.registry.claim(session, key))
    }

    fn evict(
        &self,
        session: &Arc<Session>,
        key: &str,
        holder: &str,
        notice: Rejection,
    ) -> Result<(), ClaimError> {
        self.as_told(self.registry.evict(session, key, holder, notice))
    }

    fn count(&self, account: Account<'_>, key: &str, change: Change) -> Result<i64, CounterError> {
        self.counters.change(account, key, change)
    }

    fn log(&self, _: &str, level: Level, line: &str) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(format!("{level} {line}"));
    }
}

/// The configuration's key sets by name, each with a secret in place of its
/// keys. What a token must say beside being signed is the configuration's.
fn key_sets(config: &Config) -> anyhow::Result<KeySets> {
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

fn sign(
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

/// The facts of the case's request, as the gateway would have them.
fn facts(case: &Case, policy: &str, config: &Config, token: Option<&str>) -> anyhow::Result<Facts> {
    let mut routes = matchit::Router::new();
    for (name, route) in &config.routes {
        for path in &route.paths {
            routes
                .insert(path, (name, route))
                .with_context(|| path.clone())?;
        }
    }
    let path = match &case.path {
        Some(path) => path.clone(),
        None => own_path(policy, config)?,
    };
    let uri: Uri = path
        .parse()
        .with_context(|| format!("`path` is none: {path}"))?;
    let found = routes.at(uri.path()).map_err(|_| {
        anyhow::anyhow!("no route of the configuration has the path {}", uri.path())
    })?;
    let (name, route) = *found.value;
    let params = found
        .params
        .iter()
        .map(|(name, value)| Ok((name.to_owned(), facts::decode(value)?)))
        .collect::<Result<Vec<_>, facts::PathError>>()?;
    let mut headers = HeaderMap::new();
    for (name, value) in &case.headers {
        headers.insert(
            HeaderName::try_from(name).with_context(|| format!("the header {name}"))?,
            HeaderValue::try_from(value).with_context(|| format!("the header {name}"))?,
        );
    }
    if let Some(token) = token {
        headers.insert(
            "authorization",
            HeaderValue::try_from(format!("Bearer {token}"))?,
        );
    }
    let remote = case.remote.parse().with_context(|| {
        format!(
            "`remote` is \"{}\", which is no address and port",
            case.remote
        )
    })?;
    let mut facts = Facts::new(
        "this-session".into(),
        name.as_str().into(),
        &uri,
        params,
        headers,
        remote,
    );
    if route.handshake == HandshakeMode::IngestV1 {
        facts
            .normalise_source()
            .map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    Ok(facts)
}

/// The first path of the first route that asks the policy.
fn own_path(policy: &str, config: &Config) -> anyhow::Result<String> {
    let asks = |route: &&config::Route| {
        route
            .on_connect
            .iter()
            .chain(&route.on_handshake)
            .chain(&route.on_frames)
            .chain(&route.on_close)
            .any(|name| name == policy)
    };
    let route = config
        .routes
        .values()
        .find(asks)
        .or_else(|| config.routes.values().next())
        .context("the configuration has no route")?;
    let template = route.paths.first().context("a route has a path")?;
    Ok(template
        .split('/')
        .map(|part| if part.starts_with('{') { "demo" } else { part })
        .collect::<Vec<_>>()
        .join("/"))
}

fn leave(guard: &SessionGuard, attributes: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for (full, value) in attributes {
        let (policy, name) = full
            .split_once('.')
            .with_context(|| format!("an attribute is called POLICY.NAME, and not \"{full}\""))?;
        guard
            .session()
            .facts
            .set_attribute(policy, name, value.clone())?;
    }
    Ok(())
}

/// The client's message: what the case names, over what the protocol requires.
pub fn handshake(fields: &Map<String, Value>) -> Arc<str> {
    let mut message = Map::new();
    message.insert("type".to_owned(), "handshake".into());
    message.insert("sample_rate".to_owned(), 16_000.into());
    message.insert("device_id".to_owned(), "device-1".into());
    message.extend(fields.clone());
    Value::Object(message).to_string().into()
}
