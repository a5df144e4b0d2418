//! The request of a case, as the gateway would have it.

use anyhow::Context as _;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::fixture::Case;
use config::Config;
use session::facts::{self, Facts};
use session::handshake::HandshakeMode;

/// The facts of the case's request, as the gateway would have them.
pub(super) fn facts(
    case: &Case,
    policy: &str,
    config: &Config,
    token: Option<&str>,
) -> anyhow::Result<Facts> {
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
        None => own_path(policy, config)?.1,
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

/// The first route that asks the policy, with a path of it.
pub(crate) fn own_path<'a>(
    policy: &str,
    config: &'a Config,
) -> anyhow::Result<(&'a config::Route, String)> {
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
    let parts = template.split('/');
    let parts = parts.map(|part| if part.starts_with('{') { "demo" } else { part });
    Ok((route, parts.collect::<Vec<_>>().join("/")))
}
