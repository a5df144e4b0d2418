//! Facts about a connection when it asks to be admitted.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, HeaderName, Uri, header};
use percent_encoding::percent_decode_str;

use crate::handshake::HandshakeError;
use base::credentials::{self, TOKEN_PARAMETER};
use wire::headers;
use wire::proxies;

mod attributes;
mod bearer;
mod claimed;
mod flaw;
mod renewed;
mod request;
mod secrets;

pub use attributes::{AttributeError, MAX_ATTRIBUTES};
pub use bearer::{COMPANION, is_entry};
pub use claimed::Claimed;
pub use request::Headers;
use request::ReceivedRequest;

/// Whether the caller may see credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// The caller may see them.
    Shown,
    /// The caller gets `None`, as if they were absent.
    Withheld,
}

/// Facts about one connection. All text in them is the client's and proves nothing. Only the
/// attributes, which policies set, can be trusted.
pub struct Facts {
    /// Session id in logs and metrics.
    pub session_id: Arc<str>,
    /// Name of the matched route; empty if none matched.
    pub route: Arc<str>,
    /// Path parameters of the route, percent-decoded.
    pub params: Vec<(String, String)>,
    /// Address of the client, from the connection or a trusted proxy. The port is 0 if it is
    /// unknown.
    pub remote: SocketAddr,
    request: Arc<ReceivedRequest>,
    source: SourceParameter,
    attributes: Mutex<Vec<(String, String)>>,
    /// Token that takes the place of the one in the request.
    renewed: Mutex<Option<Arc<str>>>,
}

/// Value of the query parameter `source`, as far as it is known.
#[derive(Debug, Clone, Copy)]
enum SourceParameter {
    /// As the client sent it.
    AsSent,
    /// One of the names that routes of `ingest.v1` know.
    Named(&'static str),
    /// Absent, because the client named another one.
    Unknown,
}

/// Error: a part of a path is not UTF-8 after percent-decoding.
#[derive(Debug, thiserror::Error)]
#[error("the path is not UTF-8")]
pub struct PathError;

/// Leaves out the query and the headers, which contain tokens.
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
        let request = ReceivedRequest::new(uri, headers.into());
        Self::of(session_id, route, params, request, remote)
    }

    /// Facts of a connection that is refused before its request matters. They say that the client
    /// sent nothing.
    #[must_use]
    pub fn without_request(
        session_id: Arc<str>,
        route: Arc<str>,
        params: Vec<(String, String)>,
        remote: SocketAddr,
    ) -> Self {
        Self::of(
            session_id,
            route,
            params,
            ReceivedRequest::default(),
            remote,
        )
    }

    /// Facts of a request from its decoded parts.
    #[must_use]
    pub fn of_parts(
        session_id: Arc<str>,
        route: Arc<str>,
        params: Vec<(String, String)>,
        (path, query, headers): (&str, &[(String, String)], HeaderMap),
        remote: SocketAddr,
    ) -> Self {
        let request = ReceivedRequest::decoded(path, query, headers.into());
        Self::of(session_id, route, params, request, remote)
    }

    fn of(
        session_id: Arc<str>,
        route: Arc<str>,
        mut params: Vec<(String, String)>,
        request: ReceivedRequest,
        remote: SocketAddr,
    ) -> Self {
        params.shrink_to_fit();
        Self {
            session_id,
            route,
            params,
            remote,
            request: Arc::new(request),
            source: SourceParameter::AsSent,
            attributes: Mutex::default(),
            renewed: Mutex::default(),
        }
    }

    /// Frees the memory of the request, when nothing will ask for it any more.
    pub fn forget_request(&mut self) {
        self.request = Arc::default();
        self.params = Vec::new();
    }

    /// The same facts with other attributes.
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
            renewed: Mutex::new(self.renewed()),
        }
    }

    /// Path, percent-decoded, without the query. Replacement characters stand for what is not
    /// UTF-8; such a path matches no route.
    #[must_use]
    pub fn path(&self) -> Cow<'_, str> {
        percent_decode_str(self.request.path()).decode_utf8_lossy()
    }

    /// Path parameter by name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        lookup(&self.params, name)
    }

    /// First query parameter of this name.
    #[must_use]
    pub fn query(&self, name: &str, credentials: Credentials) -> Option<Cow<'_, str>> {
        if credentials == Credentials::Withheld && credentials::is_parameter(name) {
            return None;
        }
        if name == TOKEN_PARAMETER && self.renewed().is_some() {
            return None;
        }
        match self.source {
            SourceParameter::Named(source) if name == "source" => Some(source.into()),
            SourceParameter::Unknown if name == "source" => None,
            _ => {
                let mut query = self.request.query();
                query.find_map(|(key, value)| (key == name).then_some(value))
            }
        }
    }

    /// Value of a header field, over all of its lines, if it is text. For fields that name the
    /// client, it is the client's known address.
    #[must_use]
    pub fn header(&self, name: &str, credentials: Credentials) -> Option<Cow<'_, str>> {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        if credentials == Credentials::Withheld && credentials::is_header(&name) {
            return None;
        }
        if name == header::AUTHORIZATION
            && let Some(renewed) = self.renewed()
        {
            return Some(format!("Bearer {renewed}").into());
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

    /// Values of all header lines of this name, unchanged, with credentials.
    pub fn header_lines(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        self.request.headers.values(name.as_str())
    }

    /// All query parameters, with credentials. The caller must withhold those.
    pub fn all_queries(&self) -> Vec<(String, String)> {
        let query = self.request.query();
        let mut query: Vec<_> = query
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        if !matches!(self.source, SourceParameter::AsSent) {
            query.retain(|(name, _)| name != "source");
        }
        if let SourceParameter::Named(source) = self.source {
            query.push(("source".to_owned(), source.to_owned()));
        }
        query
    }

    /// All headers, each name once. They include credentials, except for tokens that came as
    /// subprotocols.
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

    /// Approximate memory of the request's facts, in bytes.
    pub fn weight(&self) -> usize {
        let params = self.params.iter();
        let params =
            params.map(|(name, value)| size_of::<(String, String)>() + name.len() + value.len());
        self.request.weight() + params.sum::<usize>()
    }

    /// Brings `source` to `mic` or `sys`, as routes of `ingest.v1` promise. Any other value is
    /// removed.
    ///
    /// # Errors
    /// If the client named another source. The message is for the client.
    pub fn normalise_source(&mut self) -> Result<(), HandshakeError> {
        let named = self.query("source", Credentials::Withheld);
        let known = source_name(named.as_deref().unwrap_or("mic"));
        let error = known.is_none().then(|| {
            let named = base::text::clean(&self.presentable(&named.unwrap_or_default()), 40);
            HandshakeError(format!("source \"{named}\" is not one of mic, sys, system"))
        });
        self.source = known.map_or(SourceParameter::Unknown, SourceParameter::Named);
        error.map_or(Ok(()), Err)
    }
}

/// Canonical name of a source.
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
/// [`PathError`] if the result is not UTF-8.
pub fn decode(part: &str) -> Result<String, PathError> {
    percent_decode_str(part)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| PathError)
}

fn lookup<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests;
