//! One request to an identity provider, or two where its discovery document says where the keys are.
//!
//! Everything is bounded: the time, the size, and who is asked. Only HTTPS is spoken, and no redirect
//! is followed, because what an answer says decides who may sign tokens.

use std::time::Duration;

use reqwest::header::{ACCEPT, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use tokio::task::JoinError;
use tokio::time::timeout;

use super::caching::max_age;
use base::blocking::LOADING;
use base::text;
use base::tls::client::{Authorities, Roots};
use keys::KeyError;
use keys::provider::Content;
use keys::settings::{Provider, ProviderAddress};

/// Time limit of one request with its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Maximum size of an answer, in bytes. Sets in use have a few KiB.
const MAX_ANSWER: usize = 512 * 1024;
/// Maximum length of an `ETag` that is kept, in bytes.
const MAX_ETAG: usize = 256;
/// Where an issuer's discovery document is (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Answer of a provider.
pub(super) struct Fetched {
    pub(super) content: Content,
    pub(super) max_age: Option<Duration>,
}

/// Reason why there are no keys. It names no URL but those that are shown without their query.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer within {} s", PATIENCE.as_secs())]
    Slow,
    #[error(
        "it answered with a redirect ({0}), which is not followed: configure where it leads to"
    )]
    Redirect(u16),
    #[error("it answered with {0}")]
    Status(u16),
    #[error("its answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error("its answer is not UTF-8")]
    NotText,
    #[error("its discovery document cannot be used: {0}")]
    Discovery(String),
    #[error("the keys at {url}: {why}")]
    Keys { url: String, why: Box<Self> },
    #[error("{0}")]
    Unusable(#[from] KeyError),
    #[error("the gateway cannot ask: {0:#}")]
    Machine(anyhow::Error),
    #[error("the gateway could not read the answer: {0}")]
    Panicked(JoinError),
}

/// Members of a discovery document that matter.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Asks a provider for its keys. `etag` is that of the keys that are here.
pub(super) async fn fetch(
    provider: &Provider,
    etag: Option<String>,
) -> Result<Fetched, FetchError> {
    let authorities = provider.authorities.clone();
    let client = LOADING.run(move || client(&authorities));
    let client = client.await.map_err(FetchError::Panicked)?;
    let client = client.map_err(FetchError::Machine)?;
    match &provider.address {
        ProviderAddress::Jwks(url) => keys(&client, url, etag).await,
        ProviderAddress::Issuer(issuer) => {
            let url = jwks_url(&client, issuer).await?;
            let fetched = keys(&client, &url, etag).await;
            fetched.map_err(|why| FetchError::Keys {
                url: text::clean(url.split(['?', '#']).next().unwrap_or_default(), 200),
                why: Box::new(why),
            })
        }
    }
}

fn client(authorities: &Authorities) -> anyhow::Result<Client> {
    let client = Client::builder()
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(Roots::read(authorities)?.config()?)
        .https_only(true)
        .redirect(Policy::none())
        .build()?;
    Ok(client)
}

/// Where the keys of an issuer are. The document must be the issuer's own (section 4.3).
async fn jwks_url(client: &Client, issuer: &str) -> Result<String, FetchError> {
    let url = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
    let Got::Body { body, .. } = get(client, &url, None).await? else {
        return Err(FetchError::Status(StatusCode::NOT_MODIFIED.as_u16()));
    };
    let problem = |what: &str| FetchError::Discovery(what.to_owned());
    let found: Discovery = serde_json::from_str(&body)
        .map_err(|_| problem("it is not JSON with `issuer` and `jwks_uri`"))?;
    if found.issuer != issuer {
        let other = text::clean(&found.issuer, 200);
        return Err(problem(&format!("it is of another issuer, \"{other}\"")));
    }
    if !found.jwks_uri.starts_with("https://") || found.jwks_uri.contains('@') {
        return Err(problem("its `jwks_uri` is not a plain URL with https"));
    }
    Ok(found.jwks_uri)
}

async fn keys(client: &Client, url: &str, etag: Option<String>) -> Result<Fetched, FetchError> {
    match get(client, url, etag).await? {
        Got::NotModified { max_age } => Ok(Fetched {
            content: Content::NotModified,
            max_age,
        }),
        Got::Body {
            body,
            etag,
            max_age,
        } => Ok(Fetched {
            content: Content::Keys(body, etag),
            max_age,
        }),
    }
}

enum Got {
    NotModified {
        max_age: Option<Duration>,
    },
    Body {
        body: String,
        etag: Option<String>,
        max_age: Option<Duration>,
    },
}

async fn get(client: &Client, url: &str, etag: Option<String>) -> Result<Got, FetchError> {
    let getting = Box::pin(get_patiently(client, url, etag));
    let got = timeout(PATIENCE, getting).await;
    got.unwrap_or(Err(FetchError::Slow))
}

async fn get_patiently(
    client: &Client,
    url: &str,
    etag: Option<String>,
) -> Result<Got, FetchError> {
    let url = Url::parse(url).map_err(|error| FetchError::Machine(error.into()))?;
    let mut request = client.get(url).header(ACCEPT, "application/json");
    let condition = etag.and_then(|etag| HeaderValue::try_from(etag).ok());
    let is_conditional = condition.is_some();
    if let Some(condition) = condition {
        request = request.header(IF_NONE_MATCH, condition);
    }
    let mut response = request.send().await.map_err(unreachable)?;
    let max_age = max_age(response.headers());
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED if is_conditional => return Ok(Got::NotModified { max_age }),
        status if status.is_redirection() => return Err(FetchError::Redirect(status.as_u16())),
        status => return Err(FetchError::Status(status.as_u16())),
    }
    let etag = etag_of(response.headers());
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(FetchError::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    let body = String::from_utf8(bytes).map_err(|_| FetchError::NotText)?;
    Ok(Got::Body {
        body,
        etag,
        max_age,
    })
}

fn etag_of(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(ETAG)?.to_str().ok()?;
    (etag.len() <= MAX_ETAG).then(|| etag.to_owned())
}

/// Without the URL, whose query may be a secret.
fn unreachable(error: reqwest::Error) -> FetchError {
    let why = anyhow::Error::from(error.without_url());
    FetchError::Unreachable(format!("{why:#}"))
}
