//! One conversation with a registry (OCI distribution specification, "Pull";
//! for the tokens Docker's "Token Authentication Specification").
//!
//! Two requests and, where the registry asks for it, one for a token. The
//! crates that speak with registries read manifests, tokens and errors whole,
//! however long they are; a gateway that serves while it reloads must not
//! depend on somebody else's mercy for its memory. So reqwest carries the
//! requests, and every answer is read up to a bound.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::RootCertStore;

use super::{FetchError, Wanted};
use crate::config::credentials::Login;
use crate::config::reference::{Reference, Scheme};
use crate::text;
use crate::tls::client::{self, Authorities};

/// The manifests of one artifact, and of several so that it can be said that
/// these are not taken.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.v2+json, \
                         application/vnd.oci.image.index.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json";
/// Bytes of an answer with a token. Some carry a list of what they are good for.
const MAX_TOKEN_BYTES: u64 = 64 << 10;
/// How long a registry may take to be there.
const CONNECT: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Registry<'a> {
    reference: &'a Reference,
    login: Option<&'a Login>,
    /// Made when it is needed: the authorities of this machine are many.
    http: Option<Client>,
    authorization: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> Registry<'a> {
    pub(super) fn new(reference: &'a Reference, login: Option<&'a Login>) -> Self {
        Self {
            reference,
            login,
            http: None,
            authorization: None,
        }
    }

    /// The manifest with a digest.
    pub(super) async fn manifest(&mut self, wanted: &Wanted) -> Result<Vec<u8>, FetchError> {
        self.fetch("manifests", MANIFESTS, wanted).await
    }

    /// The blob with a digest.
    pub(super) async fn blob(&mut self, wanted: &Wanted) -> Result<Vec<u8>, FetchError> {
        self.fetch("blobs", "*/*", wanted).await
    }

    async fn fetch(
        &mut self,
        kind: &str,
        accept: &str,
        wanted: &Wanted,
    ) -> Result<Vec<u8>, FetchError> {
        let Reference {
            scheme,
            host,
            repository,
            ..
        } = self.reference;
        let scheme = match scheme {
            Scheme::Tls => "https",
            Scheme::Plain => "http",
        };
        let digest = &wanted.digest;
        let url = format!("{scheme}://{host}/v2/{repository}/{kind}/sha256:{digest}");
        let mut response = self.get(&url, accept).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            let challenge = response.headers().get(WWW_AUTHENTICATE);
            let challenge = challenge.and_then(|challenge| challenge.to_str().ok());
            let challenge = challenge.unwrap_or_default().to_owned();
            self.authorize(&challenge).await?;
            response = self.get(&url, accept).await?;
        }
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => {
                return Err(FetchError::NotFound {
                    host: host.clone(),
                    what: wanted.what.clone(),
                });
            }
            status => return Err(self.refusal(status)),
        }
        let bytes = self.read(response, &wanted.what, wanted.most).await?;
        let found = text::hex(&Sha256::digest(&bytes));
        if found == *digest {
            return Ok(bytes);
        }
        Err(FetchError::Digest {
            host: host.clone(),
            what: wanted.what.clone(),
            found,
        })
    }

    async fn get(&mut self, url: &str, accept: &str) -> Result<Response, FetchError> {
        let mut request = self.http()?.get(url).header(ACCEPT, accept);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request
            .send()
            .await
            .map_err(|error| self.unreachable(error))
    }

    /// Finds out how to say who the gateway is.
    async fn authorize(&mut self, challenge: &str) -> Result<(), FetchError> {
        let challenges = http_auth::parse_challenges(challenge).unwrap_or_default();
        let of = |scheme: &str| {
            let mut challenges = challenges.iter();
            challenges.find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme))
        };
        let authorization = if let Some(bearer) = of("Bearer") {
            let parameter = |name: &str| {
                let mut parameters = bearer.params.iter();
                let found = parameters.find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            let realm = parameter("realm").unwrap_or_default();
            let token = self.token(&realm, parameter("service")).await?;
            sensitive(format!("Bearer {token}"))
        } else {
            of("Basic").and(self.login).and_then(basic)
        };
        if authorization.is_none() {
            return Err(self.refusal(StatusCode::UNAUTHORIZED));
        }
        self.authorization = authorization;
        Ok(())
    }

    /// A token to read the repository with, from whom the registry trusts.
    async fn token(&mut self, realm: &str, service: Option<String>) -> Result<String, FetchError> {
        let url = token_url(realm, service.as_deref(), &self.reference.repository);
        let mut request = self.http()?.get(url);
        if let Some(authorization) = self.login.and_then(basic) {
            request = request.header(AUTHORIZATION, authorization);
        }
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response.status()));
        }
        let json = self
            .read(response, "the registry's token", MAX_TOKEN_BYTES)
            .await?;
        let token: Option<Token> = serde_json::from_slice(&json).ok();
        let token = token.and_then(|token| token.token.or(token.access_token));
        token.ok_or_else(|| self.refusal(StatusCode::UNAUTHORIZED))
    }

    fn refusal(&self, status: StatusCode) -> FetchError {
        let host = self.reference.host.clone();
        let denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let status = status.as_u16();
        match self.login {
            None if denied => FetchError::NoCredentials { host },
            Some(_) if denied => FetchError::Refused { host, status },
            _ => FetchError::Status { host, status },
        }
    }

    /// Without the address, which may be one that the registry made for this
    /// request alone, with a signature in it.
    fn unreachable(&self, error: reqwest::Error) -> FetchError {
        let why = anyhow::Error::from(error.without_url());
        FetchError::Unreachable {
            host: self.reference.host.clone(),
            why: format!("{why:#}"),
        }
    }

    async fn read(
        &self,
        mut response: Response,
        what: &str,
        most: u64,
    ) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        loop {
            let chunk = response
                .chunk()
                .await
                .map_err(|error| self.unreachable(error))?;
            let Some(chunk) = chunk else { return Ok(bytes) };
            if bytes.len() as u64 + chunk.len() as u64 > most {
                let what = what.to_owned();
                return Err(FetchError::TooLarge { what, most });
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    fn http(&mut self) -> Result<&Client, FetchError> {
        let client = match self.http.take() {
            Some(client) => client,
            None => build(self.reference.scheme).map_err(FetchError::Machine)?,
        };
        Ok(self.http.insert(client))
    }
}

fn token_url(realm: &str, service: Option<&str>, repository: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("scope", &format!("repository:{repository}:pull"));
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    let separator = if realm.contains('?') { '&' } else { '?' };
    format!("{realm}{separator}{}", query.finish())
}

fn build(scheme: Scheme) -> anyhow::Result<Client> {
    let client = Client::builder()
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT);
    let client = match scheme {
        // Wherever the registry sends the gateway, storage and tokens included.
        Scheme::Tls => client
            .tls_backend_preconfigured(client::config(&Authorities::Platform)?)
            .https_only(true),
        // No proxy is a way to this machine, and nobody on it is asked for a
        // certificate.
        Scheme::Plain => client
            .tls_backend_preconfigured(client::trusting(RootCertStore::empty())?)
            .no_proxy(),
    };
    Ok(client.build()?)
}

fn basic(login: &Login) -> Option<HeaderValue> {
    let mut text = format!("{}:", login.user).into_bytes();
    text.extend_from_slice(login.password.expose());
    sensitive(format!("Basic {}", STANDARD.encode(text)))
}

/// A header that no debug output shows.
fn sensitive(text: String) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}
