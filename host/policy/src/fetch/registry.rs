//! One conversation with a registry (OCI distribution specification, "Pull";
//! for the tokens Docker's "Token Authentication Specification").
//!
//! Who the gateway is, the registry alone learns, and whoever gives out tokens for it. So
//! credentials go with the first request to the registry's own origin and with the request for a
//! token, and never behind a redirect, where a stranger may be. Only the registry's own origin may
//! ask for them: the storage that it redirects to may not, whatever its 401 says (as in
//! CVE-2020-15157). And the realm that it sends the gateway to for a token must be a relative
//! (`fetch::realm`).
//!
//! Two requests and, where the registry asks for it, one for a token. The
//! crates that speak with registries read manifests, tokens and errors whole,
//! however long they are; a gateway that serves while it reloads must not
//! depend on somebody else's mercy for its memory. So reqwest carries the
//! requests, and every answer is read up to a bound.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::RootCertStore;

use super::{FetchError, Wanted};
use crate::fetch::credentials::Login;
use crate::fetch::reference::{Reference, Scheme};
use base::text;
use base::tls::client::{self, Authorities};

mod authorize;
mod push;

pub(super) use push::MANIFEST;

/// The manifests of one artifact, and of several so that it can be said that
/// these are not taken.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.v2+json, \
                         application/vnd.oci.image.index.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json";
/// Redirects that are followed for one thing.
const MOST_REDIRECTS: usize = 5;
/// How long a registry may take to be there.
const CONNECT: Duration = Duration::from_secs(10);

/// One conversation with a registry, about one artifact.
pub(super) struct Registry<'a> {
    reference: &'a Reference,
    login: Option<&'a Login>,
    /// Hosts beside its own that may ask for the login.
    realms: &'a [String],
    /// Made when it is needed: the authorities of this machine are many.
    http: Option<Client>,
    authorization: Option<HeaderValue>,
    access: Access,
}

/// What the gateway, or an author, does there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Access {
    /// Reads a component.
    Pull,
    /// Brings one.
    Push,
}

impl<'a> Registry<'a> {
    pub(super) fn new(
        reference: &'a Reference,
        login: Option<&'a Login>,
        realms: &'a [String],
        access: Access,
    ) -> Self {
        Self {
            reference,
            login,
            realms,
            http: None,
            authorization: None,
            access,
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
        let host = &self.reference.host;
        let digest = &wanted.digest;
        let url = self.url(&format!("{kind}/sha256:{digest}"))?;
        let mut response = self.get(&url, accept).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            if response.url().origin() != url.origin() {
                return Err(FetchError::Stranger { host: host.clone() });
            }
            self.authorize(response.headers()).await?;
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

    /// Address of something in the repository.
    fn url(&self, path: &str) -> Result<Url, FetchError> {
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
        let url = format!("{scheme}://{host}/v2/{repository}/{path}");
        Url::parse(&url).map_err(|error| FetchError::Machine(error.into()))
    }

    /// Follows redirects, without credentials.
    async fn get(&mut self, url: &Url, accept: &str) -> Result<Response, FetchError> {
        let mut url = url.clone();
        let mut authorization = self.authorization.clone();
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.http()?.get(url.clone()).header(ACCEPT, accept);
            if let Some(authorization) = authorization.take() {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = request
                .send()
                .await
                .map_err(|error| self.unreachable(error))?;
            let Some(next) = redirect(&response) else {
                return Ok(response);
            };
            url = next;
        }
        Err(FetchError::Redirects {
            host: self.reference.host.clone(),
        })
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

/// Where an answer sends the gateway on to.
fn redirect(response: &Response) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    location(response)
}

/// The address that an answer names.
fn location(response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    response.url().join(location).ok()
}

fn build(scheme: Scheme) -> anyhow::Result<Client> {
    let client = Client::builder()
        .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(CONNECT);
    let client = match scheme {
        // Wherever the registry sends the gateway, storage and tokens included.
        Scheme::Tls => client
            .tls_backend_preconfigured(client::Roots::read(&Authorities::Platform)?.config()?)
            .https_only(true),
        // No proxy is a way to this machine, and nobody on it is asked for a
        // certificate.
        Scheme::Plain => client
            .tls_backend_preconfigured(client::trusting(RootCertStore::empty())?)
            .no_proxy(),
    };
    Ok(client.build()?)
}
