//! URL template of a backend, with placeholders for facts about a connection.
//!
//! A client's value can fill a segment of the path or a part of the query, and nothing more. It is
//! percent-encoded, and a segment of `..`, `.` or nothing is refused. The host has no placeholders.

use axum::http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::fact::{Fact, FactError};
use session::facts::Facts;

/// Encoded characters: all except the unreserved ones of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// URL template: `ws://` or `wss://`, a host, and a path and query with placeholders in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    scheme: UrlScheme,
    authority: String,
    host: String,
    port: u16,
    /// Segments of the path, each behind a slash.
    segments: Vec<Vec<Piece>>,
    /// Query behind the question mark, if there is one.
    query: Option<Vec<Piece>>,
}

/// Scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlScheme {
    /// Without TLS.
    Ws,
    /// With TLS.
    Wss,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Place(Fact),
}

/// Reason why a text is no template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The scheme is neither `ws://` nor `wss://`.
    #[error("it begins with neither ws:// nor wss://")]
    Scheme,
    /// There is no host, or a user, password or placeholder in it.
    #[error("it has no plain host and port")]
    Host,
    /// A brace has no pair.
    #[error("its braces do not match")]
    Braces,
    /// A placeholder is unknown.
    #[error("there is no placeholder {{{0}}}")]
    Unknown(String),
    /// A placeholder names a credential.
    #[error("{{{0}}} would put a secret into a URL")]
    Secret(String),
    /// The URL has invalid characters.
    #[error("it is not a URL")]
    Url,
}

/// Reason why a stream has no URL.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// No policy set the attribute.
    #[error("no policy set the attribute {0}, which the URL of the upstream needs")]
    Missing(String),
    /// A segment of the path would be `..`, `.` or empty.
    #[error("a segment of the upstream's path would be \"{0}\"")]
    Segment(String),
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// If the template is invalid.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("ws", rest)) => (UrlScheme::Ws, rest),
            Some(("wss", rest)) => (UrlScheme::Wss, rest),
            _ => return Err(TemplateError::Scheme),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (host, port) = host_and_port(authority, scheme)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let path = path.strip_prefix('/').unwrap_or(path);
        let segments = path.split('/').map(pieces).collect::<Result<_, _>>()?;
        let template = Self {
            scheme,
            authority: authority.to_owned(),
            host,
            port,
            segments,
            query: query.map(pieces).transpose()?,
        };
        template.check_literals()?;
        Ok(template)
    }

    /// Scheme of the URL.
    #[must_use]
    pub fn scheme(&self) -> UrlScheme {
        self.scheme
    }

    /// Host and port as written.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Host and port to connect to.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// All facts that fill placeholders.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        let pieces = self.segments.iter().chain(&self.query).flatten();
        pieces.filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Place(fact) => Some(fact),
        })
    }

    /// Path and query for one connection.
    ///
    /// # Errors
    /// If a value is missing or cannot be a segment.
    pub(crate) fn expand(&self, facts: &Facts) -> Result<String, ExpandError> {
        self.expand_with(|fact| match (fact.value(facts), fact) {
            (Some(value), _) => Ok(value),
            (None, Fact::Attribute(name)) => Err(ExpandError::Missing(name.clone())),
            (None, Fact::Param(_) | Fact::Query(_)) => Ok(String::new()),
        })
    }

    fn expand_with(
        &self,
        value: impl Fn(&Fact) -> Result<String, ExpandError>,
    ) -> Result<String, ExpandError> {
        let fill = |pieces: &[Piece]| -> Result<String, ExpandError> {
            let mut filled = String::new();
            for piece in pieces {
                match piece {
                    Piece::Literal(text) => filled.push_str(text),
                    Piece::Place(fact) => {
                        filled.extend(utf8_percent_encode(&value(fact)?, RESERVED));
                    }
                }
            }
            Ok(filled)
        };
        let mut address = String::new();
        for pieces in &self.segments {
            let segment = fill(pieces)?;
            let is_literal = pieces
                .iter()
                .all(|piece| matches!(piece, Piece::Literal(_)));
            if !is_literal && matches!(segment.as_str(), "" | "." | "..") {
                return Err(ExpandError::Segment(segment));
            }
            address.push('/');
            address.push_str(&segment);
        }
        if let Some(pieces) = &self.query {
            address.push('?');
            address.push_str(&fill(pieces)?);
        }
        Ok(address)
    }

    /// Checks that the template is a URL when harmless values fill its placeholders.
    fn check_literals(&self) -> Result<(), TemplateError> {
        let example = self
            .expand_with(|_| Ok("x".to_owned()))
            .map_err(|_| TemplateError::Url)?;
        let printable = example
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>'));
        let url = format!("http://{}{example}", self.authority);
        if printable && url.parse::<Uri>().is_ok() {
            Ok(())
        } else {
            Err(TemplateError::Url)
        }
    }
}

fn host_and_port(authority: &str, scheme: UrlScheme) -> Result<(String, u16), TemplateError> {
    if authority.contains(['@', '{', '}']) {
        return Err(TemplateError::Host);
    }
    let parsed: axum::http::uri::Authority = authority.parse().map_err(|_| TemplateError::Host)?;
    if parsed.host().is_empty() {
        return Err(TemplateError::Host);
    }
    let port = match (parsed.port_u16(), scheme) {
        (Some(port), _) => port,
        // The text behind the host is no port.
        (None, _) if parsed.host().len() != authority.len() => return Err(TemplateError::Host),
        (None, UrlScheme::Ws) => 80,
        (None, UrlScheme::Wss) => 443,
    };
    // An IPv6 address has brackets only in a URL.
    let host = parsed.host().trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), port))
}

fn pieces(mut text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    while let Some((literal, rest)) = text.split_once('{') {
        let (name, rest) = rest.split_once('}').ok_or(TemplateError::Braces)?;
        pieces.push(Piece::Literal(literal.to_owned()));
        pieces.push(Piece::Place(fact(name)?));
        text = rest;
    }
    pieces.push(Piece::Literal(text.to_owned()));
    let stray = |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains(['{', '}']));
    if pieces.iter().any(stray) {
        return Err(TemplateError::Braces);
    }
    pieces.retain(|piece| !matches!(piece, Piece::Literal(text) if text.is_empty()));
    Ok(pieces)
}

fn fact(name: &str) -> Result<Fact, TemplateError> {
    Fact::parse(name).map_err(|error| match error {
        FactError::Unknown => TemplateError::Unknown(name.to_owned()),
        FactError::Secret => TemplateError::Secret(name.to_owned()),
    })
}

#[cfg(test)]
mod tests;
