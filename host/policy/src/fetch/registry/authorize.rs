//! Saying to a registry who the gateway is, as the registry asks for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;

use super::super::challenge::Challenge;
use super::super::{FetchError, realm};
use super::{Access, Registry};
use crate::fetch::credentials::Login;

/// Bytes of an answer with a token. Some carry a list of what they are good for.
const MAX_TOKEN_BYTES: u64 = 64 << 10;

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Registry<'_> {
    /// Finds out how to say who the gateway is.
    pub(super) async fn authorize(&mut self, headers: &HeaderMap) -> Result<(), FetchError> {
        let authorization = match Challenge::of(headers) {
            Some(Challenge::Bearer { realm, service }) => {
                let token = self.token(&realm, service.as_deref()).await?;
                sensitive(format!("Bearer {token}"))
            }
            Some(Challenge::Basic) => self.login.and_then(basic),
            None => None,
        };
        if authorization.is_none() {
            return Err(self.refusal(StatusCode::UNAUTHORIZED));
        }
        self.authorization = authorization;
        Ok(())
    }

    /// A token for the repository, from whom the registry trusts.
    async fn token(&mut self, realm: &str, service: Option<&str>) -> Result<String, FetchError> {
        let host = &self.reference.host;
        let mut url = realm::check(self.reference, self.realms, realm, self.login.is_some())
            .map_err(|realm| FetchError::Realm {
                host: host.clone(),
                realm,
            })?;
        {
            let mut query = url.query_pairs_mut();
            let repository = &self.reference.repository;
            let actions = match self.access {
                Access::Pull => "pull",
                Access::Push => "pull,push",
            };
            query.append_pair("scope", &format!("repository:{repository}:{actions}"));
            if let Some(service) = service {
                query.append_pair("service", service);
            }
        }
        let mut request = self.http()?.get(url);
        if let Some(authorization) = self.login.and_then(basic) {
            request = request.header(AUTHORIZATION, authorization);
        }
        // Wherever it redirects to, there are no credentials to give.
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
