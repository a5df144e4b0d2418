//! Head of a request: method, target and fields.

use axum::http::uri::Authority;
use axum::http::{HeaderName, Uri, header};

use super::Answer;
use crate::headers;

/// Parsed head of a request. It borrows the received bytes.
#[derive(Debug)]
pub struct Head<'a> {
    /// Method.
    pub method: &'a str,
    /// Target of the request.
    pub uri: Uri,
    /// Minor version of HTTP/1: 0 or 1.
    pub minor_version: u8,
    /// Size in bytes, from the request line to the empty line.
    pub size: usize,
    fields: Vec<httparse::Header<'a>>,
}

/// Whether a body follows the head (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// No body follows.
    None,
    /// A body follows.
    Some,
}

/// Violation of RFC 9112 by a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadError {
    /// Invalid syntax (section 2.1).
    Malformed,
    /// Missing or repeated `Host` (section 3.2).
    HostCount,
    /// Invalid `Host` (section 3.2).
    Host,
    /// Invalid length of the body (section 6.3).
    Length,
    /// `Content-Length` and `Transfer-Encoding` together (section 6.3). Two readers could see two
    /// different requests.
    TwoLengths,
}

impl From<HeadError> for Answer {
    fn from(error: HeadError) -> Self {
        Self::bad_request(match error {
            HeadError::Malformed => "the request is not HTTP/1.1",
            HeadError::HostCount => "the request must have one Host header",
            HeadError::Host => "the Host header must be a host, or a host and port",
            HeadError::Length => "Content-Length must be there once, as a number",
            HeadError::TwoLengths => {
                "the request has Content-Length and Transfer-Encoding: send one of them"
            }
        })
    }
}

impl<'a> Head<'a> {
    /// Parses a complete head, with its empty line.
    ///
    /// # Errors
    /// [`HeadError::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, HeadError> {
        // A head has at most one field a line.
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        let mut fields = vec![httparse::EMPTY_HEADER; lines];
        let mut request = httparse::Request::new(&mut fields);
        let Ok(httparse::Status::Complete(size)) = request.parse(bytes) else {
            return Err(HeadError::Malformed);
        };
        let (Some(method), Some(target), Some(minor_version)) =
            (request.method, request.path, request.version)
        else {
            return Err(HeadError::Malformed);
        };
        let count = request.headers.len();
        fields.truncate(count);
        Ok(Self {
            method,
            uri: target.parse().map_err(|_| HeadError::Malformed)?,
            minor_version,
            size,
            fields,
        })
    }

    /// Whether these bytes can be the beginning of a head.
    #[must_use]
    pub(crate) fn may_begin_with(bytes: &[u8]) -> bool {
        /// Maximum length of a method, in bytes. It exceeds all methods in use.
        const MAX_METHOD: usize = 32;
        if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let line = httparse::Request::new(&mut []).parse(&bytes[..=end]);
            return line.is_ok();
        }
        let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
        method.len() <= MAX_METHOD && method.iter().all(|byte| byte.is_ascii_graphic())
    }

    /// All fields, in the order of the request.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&'a str, &'a [u8])> + '_ {
        self.fields.iter().map(|field| (field.name, field.value))
    }

    /// Values of all fields of this name.
    pub fn values(&self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.fields()
            .filter(move |(field, _)| field.eq_ignore_ascii_case(name.as_str()))
            .map(|(_, value)| value)
    }

    /// Elements of a list field, over all of its lines (RFC 9110, section 5.6.1).
    pub fn list(&self, name: &HeaderName) -> impl Iterator<Item = &'a str> {
        headers::elements(self.values(name))
    }

    /// Whether a list field has a token. Upper and lower case are the same.
    #[must_use]
    pub fn lists(&self, name: &HeaderName, token: &str) -> bool {
        headers::has_token(self.values(name), token)
    }

    /// Host and port of the request. Empty only in HTTP/1.0.
    ///
    /// # Errors
    /// If `Host` is missing, repeated or invalid (RFC 9112, section 3.2).
    pub fn host(&self) -> Result<&str, HeadError> {
        let mut hosts = self.values(&header::HOST);
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host_and_port(host).ok_or(HeadError::Host)?,
            (None, _) if self.minor_version == 0 => "",
            _ => return Err(HeadError::HostCount),
        };
        // The target's host takes precedence (section 3.2.2).
        Ok(self.uri.authority().map_or(host, Authority::as_str))
    }

    /// Whether a body follows the head.
    ///
    /// # Errors
    /// If two readers could disagree about its length.
    pub fn body(&self) -> Result<Body, HeadError> {
        let is_coded = self.values(&header::TRANSFER_ENCODING).next().is_some();
        let mut lengths = self.values(&header::CONTENT_LENGTH);
        let Some(length) = lengths.next() else {
            return Ok(if is_coded { Body::Some } else { Body::None });
        };
        if is_coded {
            return Err(HeadError::TwoLengths);
        }
        let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
        if !is_number || lengths.next().is_some() {
            return Err(HeadError::Length);
        }
        Ok(if length.iter().all(|digit| *digit == b'0') {
            Body::None
        } else {
            Body::Some
        })
    }

    /// Whether the client may send another request on this connection.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        self.minor_version == 1 && !self.lists(&header::CONNECTION, "close")
    }
}

/// `uri-host [ ":" port ]` (RFC 9110, section 7.2).
fn host_and_port(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let authority: Authority = text.parse().ok()?;
    let host = authority.host();
    let port = text.strip_prefix(host)?;
    let port_fits = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
    };
    (!host.is_empty() && port_fits).then_some(text)
}

#[cfg(test)]
mod tests;
