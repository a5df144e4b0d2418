//! What is known of a connection when it asks to be admitted.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, HeaderName, Uri, header};
use percent_encoding::percent_decode_str;

use crate::handshake::HandshakeError;
use base::credentials::{self, HIDDEN, RESUME_HEADER, RESUME_PARAMETER, TOKEN_PARAMETER};
use wire::headers;
use wire::proxies;

mod bearer;
mod flaw;
mod request;

pub use bearer::{COMPANION, is_entry};
pub use request::Headers;
use request::Request;

/// Attributes that all policies of one connection may leave together, and the
/// bytes of one of them: what a guest can make the host remember is bounded.
pub const MAX_ATTRIBUTES: usize = 64;
const MAX_ATTRIBUTE_BYTES: usize = 8 * 1024;

/// A secret that is shorter cannot be told from an ordinary word.
const SHORTEST_SECRET: usize = 8;
/// Cookies of one client that are looked for in what it says.
const MAX_COOKIES: usize = 64;

/// Whether the asker may see credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// It may.
    Shown,
    /// It gets `None`, as if they were not there.
    Withheld,
}

/// The facts of one connection. All text in them is the peer's own and proves
/// nothing, except the attributes, which policies left.
pub struct Facts {
    /// The id of the session in logs and metrics.
    pub session_id: Arc<str>,
    /// The name of the matched route; empty where none matched.
    pub route: Arc<str>,
    /// The route's path parameters, percent-decoded.
    pub params: Vec<(String, String)>,
    /// The client's address, by its peer or by a trusted proxy. The port is 0
    /// where it is not known.
    pub remote: SocketAddr,
    request: Arc<Request>,
    source: Source,
    attributes: Mutex<Vec<(String, String)>>,
}

/// What the query's `source` is taken for.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// What the client sent.
    AsSent,
    /// One of the names that routes of `ingest.v1` know.
    Named(&'static str),
    /// Nothing: the client named another one.
    Unknown,
}

/// A part of a path that is not UTF-8 once it is percent-decoded.
#[derive(Debug, thiserror::Error)]
#[error("the path is not UTF-8")]
pub struct PathError;

/// Why an attribute was not stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// See [`MAX_ATTRIBUTES`].
    #[error("a connection holds {MAX_ATTRIBUTES} attributes at the most")]
    TooMany,
    /// See [`MAX_ATTRIBUTE_BYTES`].
    #[error("an attribute's name and value are {MAX_ATTRIBUTE_BYTES} bytes at the most")]
    TooLarge,
}

/// Without the query and the headers: there are tokens in them.
impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts")
            .field("session_id", &self.session_id)
            .field("route", &self.route)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

impl Facts {
    /// Collects the facts of a request.
    #[must_use]
    pub fn new(
        session_id: Arc<str>,
        route: Arc<str>,
        uri: &Uri,
        params: Vec<(String, String)>,
        headers: impl Into<Headers>,
        remote: SocketAddr,
    ) -> Self {
        let request = Request::new(uri, headers.into());
        Self::of(session_id, route, params, request, remote)
    }

    /// Facts of a connection that is refused before anybody asks what it sent:
    /// who asks is told that it sent nothing.
    #[must_use]
    pub fn without_request(
        session_id: Arc<str>,
        route: Arc<str>,
        params: Vec<(String, String)>,
        remote: SocketAddr,
    ) -> Self {
        Self::of(session_id, route, params, Request::default(), remote)
    }

    /// The facts of a request that is known by its parts alone, decoded: there is none to collect
    /// them of.
    #[must_use]
    pub fn of_parts(
        session_id: Arc<str>,
        route: Arc<str>,
        params: Vec<(String, String)>,
        (path, query, headers): (&str, &[(String, String)], HeaderMap),
        remote: SocketAddr,
    ) -> Self {
        let request = Request::decoded(path, query, headers.into());
        Self::of(session_id, route, params, request, remote)
    }

    fn of(
        session_id: Arc<str>,
        route: Arc<str>,
        mut params: Vec<(String, String)>,
        request: Request,
        remote: SocketAddr,
    ) -> Self {
        params.shrink_to_fit();
        Self {
            session_id,
            route,
            params,
            remote,
            request: Arc::new(request),
            source: Source::AsSent,
            attributes: Mutex::default(),
        }
    }

    /// Gives back the memory of what the client sent, where nobody will ask for
    /// it any more.
    pub fn forget_request(&mut self) {
        self.request = Arc::default();
        self.params = Vec::new();
    }

    /// The same facts, with other attributes.
    #[must_use]
    pub fn with_attributes(&self, attributes: Vec<(String, String)>) -> Self {
        Self {
            session_id: Arc::clone(&self.session_id),
            route: Arc::clone(&self.route),
            params: self.params.clone(),
            remote: self.remote,
            request: Arc::clone(&self.request),
            source: self.source,
            attributes: Mutex::new(attributes),
        }
    }

    /// The path, percent-decoded, without the query. One that is not UTF-8 is
    /// shown with replacement characters; it matches no route.
    #[must_use]
    pub fn path(&self) -> Cow<'_, str> {
        percent_decode_str(self.request.path()).decode_utf8_lossy()
    }

    /// A path parameter.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        lookup(&self.params, name)
    }

    /// The first query parameter of that name.
    #[must_use]
    pub fn query(&self, name: &str, credentials: Credentials) -> Option<Cow<'_, str>> {
        if credentials == Credentials::Withheld && credentials::is_parameter(name) {
            return None;
        }
        match self.source {
            Source::Named(source) if name == "source" => Some(source.into()),
            Source::Unknown if name == "source" => None,
            _ => {
                let mut query = self.request.query();
                query.find_map(|(key, value)| (key == name).then_some(value))
            }
        }
    }

    /// Value of a header field, over all of its lines, if it is text. Of fields
    /// that say who the client is, what is known of that.
    #[must_use]
    pub fn header(&self, name: &str, credentials: Credentials) -> Option<Cow<'_, str>> {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        if credentials == Credentials::Withheld && credentials::is_header(&name) {
            return None;
        }
        if let Some(told) = proxies::told(&name, self.remote) {
            return Some(told.into());
        }
        let value = headers::combined(self.request.headers.values(name.as_str()))?;
        if credentials == Credentials::Withheld && name == header::SEC_WEBSOCKET_PROTOCOL {
            return bearer::without_tokens(&value).map(|value| value.into_owned().into());
        }
        Some(value)
    }

    /// The values of all headers of that name as they came, credentials
    /// included.
    pub fn header_lines(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        self.request.headers.values(name.as_str())
    }

    /// All parameters of the query, credentials included: for whoever withholds
    /// these himself.
    pub fn all_queries(&self) -> Vec<(String, String)> {
        let query = self.request.query();
        let mut query: Vec<_> = query
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        if !matches!(self.source, Source::AsSent) {
            query.retain(|(name, _)| name != "source");
        }
        if let Source::Named(source) = self.source {
            query.push(("source".to_owned(), source.to_owned()));
        }
        query
    }

    /// All headers, credentials included but for tokens that came as a
    /// subprotocol, each name once.
    pub fn all_headers(&self) -> Vec<(String, String)> {
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, _) in self.request.headers.iter() {
            let credentials = if name == header::SEC_WEBSOCKET_PROTOCOL.as_str() {
                Credentials::Withheld
            } else {
                Credentials::Shown
            };
            if !headers.iter().any(|(known, _)| known == name)
                && let Some(value) = self.header(name, credentials)
            {
                headers.push((name.to_owned(), value.into_owned()));
            }
        }
        headers
    }

    /// The client's token: `Authorization: Bearer` (RFC 6750, section 2.1)
    /// before the query parameter `token`, before a subprotocol. Deployed
    /// clients send stray white space and newlines around and in it; a JWT has
    /// none, so all goes.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        let authorization = self.header("authorization", Credentials::Shown);
        let bearer = authorization.as_deref().and_then(bearer_token);
        let bearer = bearer.map(|token| Cow::Owned(token.to_owned()));
        let token = bearer.or_else(|| self.query(TOKEN_PARAMETER, Credentials::Shown));
        token
            .and_then(|token| without_white_space(&token))
            .or_else(|| self.offered_tokens().find_map(without_white_space))
    }

    /// The tokens that came as subprotocols.
    pub fn offered_tokens(&self) -> impl Iterator<Item = &str> {
        headers::elements(self.header_lines(&header::SEC_WEBSOCKET_PROTOCOL))
            .filter_map(bearer::token)
    }

    /// What leads back to a stream that the client was cut off from: the header
    /// `x-sluice-resume` before the query parameter `resume`.
    #[must_use]
    pub fn resume(&self) -> Option<Cow<'_, str>> {
        self.header(RESUME_HEADER.as_str(), Credentials::Shown)
            .or_else(|| self.query(RESUME_PARAMETER, Credentials::Shown))
    }

    /// A text of the client's that is to be shown, such as a meeting's id: hidden
    /// where it holds a credential of this connection's, and without anything
    /// that looks like a token.
    #[must_use]
    pub fn presentable<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let shown = |name| self.header(name, Credentials::Shown);
        // Of these headers it is what follows the scheme.
        let proofs = [shown("authorization"), shown("proxy-authorization")];
        let proofs = proofs
            .iter()
            .flatten()
            .filter_map(|value| value.split_whitespace().last());
        let cookies = shown("cookie").unwrap_or_default();
        let cookies = cookies
            .split(';')
            .filter_map(|cookie| cookie.split_once('='))
            .take(MAX_COOKIES)
            .map(|(_, value)| value);
        let tokens = [
            self.resume(),
            self.query(TOKEN_PARAMETER, Credentials::Shown),
        ];
        let mut held = proofs
            .chain(cookies)
            .chain(tokens.iter().flatten().map(Cow::as_ref))
            .chain(self.offered_tokens())
            .map(str::trim)
            .filter(|secret| secret.len() >= SHORTEST_SECRET);
        if held.any(|secret| text.contains(secret)) {
            return HIDDEN.into();
        }
        if credentials::tokens(text).next().is_some() {
            return credentials::without_tokens(text).into();
        }
        text.into()
    }

    /// Bytes of memory that the request's facts take, about.
    pub fn weight(&self) -> usize {
        let params = self.params.iter();
        let params =
            params.map(|(name, value)| size_of::<(String, String)>() + name.len() + value.len());
        self.request.weight() + params.sum::<usize>()
    }

    /// Makes `source` one of `mic` and `sys`, as routes of `ingest.v1` promise.
    /// One that is neither is taken away, so that all of these are the same.
    ///
    /// # Errors
    /// Where the client named another one, in words for the client.
    pub fn normalise_source(&mut self) -> Result<(), HandshakeError> {
        let named = self.query("source", Credentials::Withheld);
        let known = source_name(named.as_deref().unwrap_or("mic"));
        let error = known.is_none().then(|| {
            let named = base::text::clean(&self.presentable(&named.unwrap_or_default()), 40);
            HandshakeError(format!("source \"{named}\" is not one of mic, sys, system"))
        });
        self.source = known.map_or(Source::Unknown, Source::Named);
        error.map_or(Ok(()), Err)
    }

    /// An attribute by its full name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<String> {
        lookup(&self.lock(), name).map(str::to_owned)
    }

    /// All attributes, by full name, in the order in which they were left.
    #[must_use]
    pub fn attributes(&self) -> Vec<(String, String)> {
        self.lock().clone()
    }

    /// All attributes that one of these policies left, by full name, in the
    /// order of the names.
    #[must_use]
    pub fn attributes_of(&self, policies: &[String]) -> Vec<(String, String)> {
        let mut attributes = self.attributes();
        attributes.retain(|(name, _)| {
            let policy = name.split('.').next();
            policies.iter().any(|named| Some(named.as_str()) == policy)
        });
        attributes.sort_unstable();
        attributes
    }

    /// The attribute of that name that the first of these policies left which left one.
    #[must_use]
    pub fn said_by(&self, policies: &[String], name: &str) -> Option<String> {
        let mut policies = policies.iter();
        policies.find_map(|policy| self.attribute(&format!("{policy}.{name}")))
    }

    /// Leaves `<policy>.<name>`, over an earlier value.
    ///
    /// # Errors
    /// Where a bound is reached; nothing is stored then.
    pub fn set_attribute(
        &self,
        policy: &str,
        name: &str,
        value: String,
    ) -> Result<(), AttributeError> {
        let full = format!("{policy}.{name}");
        if full.len() + value.len() > MAX_ATTRIBUTE_BYTES {
            return Err(AttributeError::TooLarge);
        }
        let mut attributes = self.lock();
        if let Some((_, old)) = attributes.iter_mut().find(|(key, _)| *key == full) {
            *old = value;
        } else if attributes.len() < MAX_ATTRIBUTES {
            attributes.push((full, value));
        } else {
            return Err(AttributeError::TooMany);
        }
        Ok(())
    }

    /// Puts the attributes back to what they were, for a call that failed.
    pub fn restore_attributes(&self, attributes: Vec<(String, String)>) {
        *self.lock() = attributes;
    }

    // A panic while the lock was held cannot leave a pair half written, so
    // poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.attributes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The canonical name of a source.
#[must_use]
pub fn source_name(named: &str) -> Option<&'static str> {
    match named {
        "mic" => Some("mic"),
        "sys" | "system" => Some("sys"),
        _ => None,
    }
}

/// Percent-decodes a part of a path.
///
/// # Errors
/// [`PathError`] where the result is not UTF-8.
pub fn decode(part: &str) -> Result<String, PathError> {
    percent_decode_str(part)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| PathError)
}

/// The scheme is compared without regard to case (RFC 9110, section 11.1).
fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim_start().split_once(char::is_whitespace)?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn without_white_space(token: &str) -> Option<String> {
    let token: String = token.chars().filter(|c| !c.is_whitespace()).collect();
    (!token.is_empty()).then_some(token)
}

fn lookup<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests;
