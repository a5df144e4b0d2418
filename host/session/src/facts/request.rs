//! Request for an upgrade, kept as long as the connection lasts.
//!
//! The request is stored as it came, in two allocations of exact size, and parsed when something
//! asks. Most of it is never asked for, and an idle connection should cost little. The listener
//! bounds the number of headers and parameters.

use std::borrow::Cow;

use axum::http::{HeaderMap, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use base::tls::peer::ClientCertificate;
use wire::http1::Head;

/// Characters that stay unencoded in a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Path, query and headers of a request.
#[derive(Default)]
pub(super) struct ReceivedRequest {
    target: Box<str>,
    pub(super) headers: Headers,
}

impl ReceivedRequest {
    pub(super) fn new(uri: &Uri, headers: Headers) -> Self {
        let target = uri.path_and_query().map_or("", |target| target.as_str());
        Self {
            target: target.into(),
            headers,
        }
    }

    /// Request with this path and these parameters, which are decoded.
    pub(super) fn decoded(path: &str, query: &[(String, String)], headers: Headers) -> Self {
        let path = utf8_percent_encode(path, IN_PATH);
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        let query = parameters.extend_pairs(query).finish();
        Self {
            target: format!("{path}?{query}").into(),
            headers,
        }
    }

    /// Path, encoded.
    pub(super) fn path(&self) -> &str {
        self.parts().0
    }

    /// Query parameters, in order.
    pub(super) fn query(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.parts().1.as_bytes())
    }

    /// Memory in bytes.
    pub(super) fn weight(&self) -> usize {
        let Headers { text, ends } = &self.headers;
        self.target.len() + text.len() + size_of_val(&**ends)
    }

    fn parts(&self) -> (&str, &str) {
        self.target.split_once('?').unwrap_or((&self.target, ""))
    }
}

/// Header fields of a request, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Names in lower case and values, without separators.
    text: Box<[u8]>,
    /// Ends of the name and the value of each field.
    ends: Box<[(usize, usize)]>,
}

impl Headers {
    /// From names, in any case, and values.
    fn collect(fields: &[(&str, &[u8])]) -> Self {
        let size = fields.iter().map(|(name, value)| name.len() + value.len());
        let mut text = Vec::with_capacity(size.sum());
        let mut ends = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            text.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
            let name_end = text.len();
            text.extend_from_slice(value);
            ends.push((name_end, text.len()));
        }
        Self {
            text: text.into(),
            ends: ends.into(),
        }
    }

    /// All fields, with names in lower case.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        begins.zip(&self.ends).map(|(begin, (name, end))| {
            // Names are tokens, which are ASCII.
            let text = std::str::from_utf8(&self.text[begin..*name]).unwrap_or_default();
            (text, &self.text[*name..*end])
        })
    }

    /// Values of all fields of this name, which is in lower case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(move |(field, _)| *field == name)
            .map(|(_, value)| value)
    }
}

/// Prefix of headers that say what certificate the client has shown.
const CERTIFICATE: &str = "x-client-certificate-";

impl Headers {
    /// Headers of a request, with those that say what certificate its client has shown. A client
    /// cannot write these itself.
    #[must_use]
    pub fn of(head: &Head<'_>, certificate: Option<&ClientCertificate>) -> Self {
        let is_own = |(name, _): &(&str, &[u8])| {
            let prefix = name.get(..CERTIFICATE.len());
            !prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(CERTIFICATE))
        };
        let mut fields: Vec<_> = head.fields().filter(is_own).collect();
        if let Some(certificate) = certificate {
            let ClientCertificate {
                sha256,
                issuer,
                names,
            } = certificate;
            for (name, value) in [
                ("x-client-certificate-sha256", sha256),
                ("x-client-certificate-issuer", issuer),
                ("x-client-certificate-names", names),
            ] {
                fields.push((name, value.as_bytes()));
            }
        }
        Self::collect(&fields)
    }
}

impl From<&Head<'_>> for Headers {
    fn from(head: &Head<'_>) -> Self {
        let fields: Vec<_> = head.fields().collect();
        Self::collect(&fields)
    }
}

impl From<HeaderMap> for Headers {
    fn from(headers: HeaderMap) -> Self {
        let fields = headers.iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        Self::collect(&fields)
    }
}
