//! What is known of a connection when it asks to be admitted.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, HeaderName, Uri};
use percent_encoding::percent_decode_str;

use crate::credentials::{self, HIDDEN, RESUME_HEADER, RESUME_PARAMETER, TOKEN_PARAMETER};
use crate::handshake::HandshakeError;
use crate::policy::record::Input;

/// Attributes that all policies of one connection may leave together, and the
/// bytes of one of them: what a guest can make the host remember is bounded.
const MAX_ATTRIBUTES: usize = 64;
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
    /// The path, percent-decoded, without the query.
    pub path: String,
    /// The route's path parameters, percent-decoded.
    pub params: Vec<(String, String)>,
    /// The peer's address.
    pub remote: SocketAddr,
    query: Vec<(String, String)>,
    headers: Box<[(HeaderName, Box<str>)]>,
    attributes: Mutex<Vec<(String, String)>>,
}

/// A part of a path that is not UTF-8 once it is percent-decoded.
#[derive(Debug, thiserror::Error)]
#[error("the path is not UTF-8")]
pub struct PathError;

/// Why there are no facts of what was written down.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordedError {
    /// It is not a name that a header can have.
    #[error("\"{0}\" is not the name of a header")]
    Header(String),
    /// It is not an address with a port.
    #[error("\"{0}\" is not an address and port")]
    Remote(String),
}

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

/// Without the room to grow that they were made with: they are kept for as long
/// as the connection is.
fn tight(mut pairs: Vec<(String, String)>) -> Vec<(String, String)> {
    for (name, value) in &mut pairs {
        name.shrink_to_fit();
        value.shrink_to_fit();
    }
    pairs.shrink_to_fit();
    pairs
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
    /// Collects the facts of a request. A path that is not UTF-8 is shown with
    /// replacement characters; it matches no route.
    #[must_use]
    pub fn new(
        session_id: Arc<str>,
        route: Arc<str>,
        uri: &Uri,
        params: Vec<(String, String)>,
        headers: HeaderMap,
        remote: SocketAddr,
    ) -> Self {
        let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
        Self {
            session_id,
            route,
            path: percent_decode_str(uri.path())
                .decode_utf8_lossy()
                .into_owned(),
            params: tight(params),
            remote,
            query: tight(query),
            headers: texts(headers),
            attributes: Mutex::default(),
        }
    }

    /// Facts as they were written down. There is no request to collect them of
    /// any more.
    pub(crate) fn recorded(
        session_id: Arc<str>,
        route: Arc<str>,
        input: &Input,
    ) -> Result<Self, RecordedError> {
        let header = |(name, value): &(String, String)| {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            let parsed = parsed.map_err(|_| RecordedError::Header(name.clone()))?;
            Ok::<_, RecordedError>((parsed, value.as_str().into()))
        };
        let remote = input.remote.parse::<SocketAddr>();
        Ok(Self {
            session_id,
            route,
            path: input.path.clone(),
            params: input.params.clone(),
            remote: remote.map_err(|_| RecordedError::Remote(input.remote.clone()))?,
            query: input.query.clone(),
            headers: input.headers.iter().map(header).collect::<Result<_, _>>()?,
            attributes: Mutex::new(input.attributes.clone()),
        })
    }

    /// The same facts, with other attributes.
    #[must_use]
    pub fn with_attributes(&self, attributes: Vec<(String, String)>) -> Self {
        Self {
            session_id: Arc::clone(&self.session_id),
            route: Arc::clone(&self.route),
            path: self.path.clone(),
            params: self.params.clone(),
            remote: self.remote,
            query: self.query.clone(),
            headers: self.headers.clone(),
            attributes: Mutex::new(attributes),
        }
    }

    /// A path parameter.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        lookup(&self.params, name)
    }

    /// The first query parameter of that name.
    #[must_use]
    pub fn query(&self, name: &str, credentials: Credentials) -> Option<&str> {
        if credentials == Credentials::Withheld && credentials::is_parameter(name) {
            return None;
        }
        lookup(&self.query, name)
    }

    /// The first header of that name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str, credentials: Credentials) -> Option<&str> {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        if credentials == Credentials::Withheld && credentials::is_header(&name) {
            return None;
        }
        let (_, value) = self.headers.iter().find(|(key, _)| *key == name)?;
        Some(value)
    }

    /// All parameters of the query, credentials included: for whoever withholds
    /// these himself.
    pub(crate) fn all_queries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// All headers, credentials included, the first of each name.
    pub(crate) fn all_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), &**value))
    }

    /// The client's token: `Authorization: Bearer` (RFC 6750, section 2.1)
    /// before the query parameter `token`. Deployed clients send stray white
    /// space and newlines around and in it; a JWT has none, so all goes.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        let bearer = self
            .header("authorization", Credentials::Shown)
            .and_then(bearer_token);
        let token = bearer.or_else(|| self.query(TOKEN_PARAMETER, Credentials::Shown))?;
        let token: String = token.chars().filter(|c| !c.is_whitespace()).collect();
        (!token.is_empty()).then_some(token)
    }

    /// What leads back to a stream that the client was cut off from: the header
    /// `x-sluice-resume` before the query parameter `resume`.
    #[must_use]
    pub fn resume(&self) -> Option<&str> {
        self.header(RESUME_HEADER.as_str(), Credentials::Shown)
            .or_else(|| self.query(RESUME_PARAMETER, Credentials::Shown))
    }

    /// A text of the client's that is to be shown, such as a meeting's id: hidden
    /// where it holds a credential of this connection's, and without anything
    /// that looks like a token.
    #[must_use]
    pub fn presentable<'a>(&self, text: &'a str) -> Cow<'a, str> {
        // Of a header it is what follows the scheme.
        let proof = |name| {
            let value = self.header(name, Credentials::Shown)?;
            value.split_whitespace().last()
        };
        let cookies = self
            .header("cookie", Credentials::Shown)
            .unwrap_or_default();
        let cookies = cookies
            .split(';')
            .filter_map(|cookie| cookie.split_once('='));
        let held = [
            proof("authorization"),
            proof("proxy-authorization"),
            self.resume(),
            self.query(TOKEN_PARAMETER, Credentials::Shown),
        ];
        let mut held = held
            .into_iter()
            .flatten()
            .chain(cookies.take(MAX_COOKIES).map(|(_, value)| value))
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
    pub(crate) fn weight(&self) -> usize {
        let pairs = self.all_queries().chain(self.all_headers());
        let params = self
            .params
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let pair =
            |(name, value): (&str, &str)| size_of::<(String, String)>() + name.len() + value.len();
        self.path.len() + pairs.chain(params).map(pair).sum::<usize>()
    }

    /// Makes `source` one of `mic` and `sys`, as routes of `ingest.v1` promise.
    /// One that is neither is taken away, so that all of these are the same.
    ///
    /// # Errors
    /// Where the client named another one, in words for the client.
    pub fn normalise_source(&mut self) -> Result<(), HandshakeError> {
        let source = match self.query("source", Credentials::Withheld) {
            None => Ok("mic"),
            Some(named) => source_name(named).ok_or_else(|| {
                let named = crate::text::clean(&self.presentable(named), 40);
                HandshakeError(format!("source \"{named}\" is not one of mic, sys, system"))
            }),
        };
        self.query.retain(|(key, _)| key != "source");
        self.query.push(("source".to_owned(), source?.to_owned()));
        Ok(())
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

/// The first header of each name, where it is text. Copied: the parser's values
/// point into its read buffer, and one of them would keep all of that alive for
/// as long as the connection lasts.
fn texts(headers: HeaderMap) -> Box<[(HeaderName, Box<str>)]> {
    // Only the first value of a name comes with the name.
    headers
        .into_iter()
        .filter_map(|(name, value)| Some((name?, value.to_str().ok()?.into())))
        .collect()
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

fn lookup<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests;
