//! The address of a backend, with places that a connection's facts fill.
//!
//! What a client wrote can fill a segment of the path or a part of the query,
//! and never more: it is percent-encoded, and a segment that would climb or
//! vanish (`..`, `.` or nothing) is refused. It cannot fill the host.

use axum::http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::fact::{Fact, FactError};
use session::facts::Facts;

/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// `ws://` or `wss://`, a host, and a path and query with places in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    scheme: Scheme,
    authority: String,
    host: String,
    port: u16,
    /// Each behind a slash.
    segments: Vec<Vec<Piece>>,
    /// Behind a question mark, where there is one.
    query: Option<Vec<Piece>>,
}

/// With TLS or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without.
    Ws,
    /// With.
    Wss,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Place(Fact),
}

/// Why a text is no template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Neither `ws://` nor `wss://`.
    #[error("it begins with neither ws:// nor wss://")]
    Scheme,
    /// No host, or one with a user, a password or a place in it.
    #[error("it has no plain host and port")]
    Host,
    /// A brace that is not closed, or not opened.
    #[error("its braces do not match")]
    Braces,
    /// A place that nothing fills.
    #[error("nothing is called {{{0}}}")]
    Unknown(String),
    /// A place for what must stay with the host.
    #[error("{{{0}}} would put a secret into a URL")]
    Secret(String),
    /// Characters that a URL does not have.
    #[error("it is not a URL")]
    Url,
}

/// Why a stream has no address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// No policy left the attribute.
    #[error("no policy left the attribute {0}, which the URL of the upstream needs")]
    Missing(String),
    /// See the module.
    #[error("a segment of the upstream's path would be \"{0}\"")]
    Segment(String),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("ws", rest)) => (Scheme::Ws, rest),
            Some(("wss", rest)) => (Scheme::Wss, rest),
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

    /// With TLS or without.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host and port as they are written.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What to connect to.
    #[must_use]
    pub fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Everything that fills a place.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        let pieces = self.segments.iter().chain(&self.query).flatten();
        pieces.filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Place(fact) => Some(fact),
        })
    }

    /// The path and query for one connection.
    ///
    /// # Errors
    /// Where it has none.
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

    /// With something harmless in its places, it must be a URL.
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

fn host_and_port(authority: &str, scheme: Scheme) -> Result<(String, u16), TemplateError> {
    if authority.contains(['@', '{', '}']) {
        return Err(TemplateError::Host);
    }
    let parsed: axum::http::uri::Authority = authority.parse().map_err(|_| TemplateError::Host)?;
    if parsed.host().is_empty() {
        return Err(TemplateError::Host);
    }
    let port = match (parsed.port_u16(), scheme) {
        (Some(port), _) => port,
        // Something behind the host is no port.
        (None, _) if parsed.host().len() != authority.len() => return Err(TemplateError::Host),
        (None, Scheme::Ws) => 80,
        (None, Scheme::Wss) => 443,
    };
    // An IPv6 address is in brackets in a URL, and nowhere else.
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
