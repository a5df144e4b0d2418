//! The world of one case: a clock that only a window moves, keys that are good for
//! nothing else, and connections that are not there. The calls are the real
//! ones: tokens are verified, and claims are taken in a real registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use axum::http::{HeaderMap, Uri};
use serde_json::{Map, Value};

use super::fixture::{Case, Token};
use config::Config;
use keys::TokenError;
use policy::Ending;
use policy::lists::Lists;
use policy::window::Window;
use session::facts::Facts;
use session::registry::{Registry, SessionGuard};

mod facts;
mod tokens;
mod world;

pub(crate) use facts::own_path;
pub use world::{Looked, SceneWorld};

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

impl Scene {
    /// Sets up a case's world for the policy `name`. The case's lists go before `lists`.
    ///
    /// # Errors
    /// Where the case asks for what cannot be: a path without a route, a key
    /// set that is not there.
    pub fn of(case: &Case, name: &str, config: &Config, lists: &Lists) -> anyhow::Result<Self> {
        let key_sets = tokens::key_sets(config)?;
        let token = match &case.token {
            Token::Claims(claims) => Some(tokens::sign(case, claims, config, &key_sets)?),
            Token::Fault(TokenError::Missing) => None,
            Token::Fault(_) => Some("no.good.token".to_owned()),
        };
        let registry = Registry::default();
        let connection = SessionGuard::new(
            facts::facts(case, name, config, token.as_deref())?,
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
        let world = Arc::new(SceneWorld::of(
            case, name, config, key_sets, registry, lists,
        )?);
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
