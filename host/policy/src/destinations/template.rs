//! Address of a service, with parameters in its path.
//!
//! A parameter is one segment of the path, and stays one whatever its value is. So nothing that a
//! client sends can lead to another path, query or host.

use std::collections::BTreeSet;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

/// What a segment does not have as it is: all but the unreserved characters of RFC 3986.
const ENCODED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Text in the place of parameters while the rest is parsed.
const STAND_IN: &str = "0";

/// Address with parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    /// Scheme, host and port.
    origin: String,
    segments: Vec<Segment>,
    query: Option<String>,
    /// Names of the query parameters in it.
    query_names: BTreeSet<String>,
    is_https: bool,
    has_safe_way: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// Text as it is sent.
    Fixed(String),
    /// Parameter, by name.
    Param(String),
}

/// Reason why a text is no address with parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is none at all.
    #[error("it is not a URL that begins with https:// or http://")]
    NotUrl,
    /// It has a user or a password.
    #[error("it has a user name")]
    User,
    /// It has a fragment.
    #[error("it has a fragment")]
    Fragment,
    /// A brace outside of the path.
    #[error("it has a parameter outside of its path")]
    Outside,
    /// A parameter that is not a segment of its own.
    #[error("\"{0}\" is not a whole segment of its path")]
    Part(String),
    /// A name that no parameter may have.
    #[error(
        "\"{{{0}}}\" names no parameter: a name has lowercase letters, digits, hyphens and underscores"
    )]
    Name(String),
    /// A path that a client of HTTP would change.
    #[error("its path has a segment \".\" or \"..\"")]
    Dots,
}

/// Reason why there is no address for these values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FillError {
    /// A parameter without a value.
    Missing(String),
    /// A value that cannot be one segment.
    Value,
}

impl Template {
    /// Reads an address.
    ///
    /// # Errors
    /// [`TemplateError`]
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .ok_or(TemplateError::NotUrl)?;
        if rest.contains('#') {
            return Err(TemplateError::Fragment);
        }
        let (before_query, query) = match rest.split_once('?') {
            Some((before, query)) => (before, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
        if authority.is_empty() {
            return Err(TemplateError::NotUrl);
        }
        if authority.contains('@') {
            return Err(TemplateError::User);
        }
        let is_brace = |c| matches!(c, '{' | '}');
        if authority.contains(is_brace) || query.is_some_and(|query| query.contains(is_brace)) {
            return Err(TemplateError::Outside);
        }
        let written: Vec<Segment> = path
            .split('/')
            .map(segment)
            .collect::<Result<_, TemplateError>>()?;
        let scheme = &text[..text.len() - rest.len()];
        let stand_in = written.iter().map(|segment| match segment {
            Segment::Fixed(text) => text,
            Segment::Param(_) => STAND_IN,
        });
        let path = stand_in.collect::<Vec<_>>().join("/");
        let query = query.map_or_else(String::new, |query| format!("?{query}"));
        let url = format!("{scheme}{authority}/{path}{query}");
        let url = Url::parse(&url).map_err(|_| TemplateError::NotUrl)?;
        let parsed: Vec<&str> = url.path()[1..].split('/').collect();
        if parsed.len() != written.len() {
            return Err(TemplateError::Dots);
        }
        // The library's form of what the operator wrote, such as `%20` for a space.
        let segments = written.into_iter().zip(parsed);
        let segments = segments.map(|(written, parsed)| match written {
            Segment::Fixed(_) => Segment::Fixed(parsed.to_owned()),
            param @ Segment::Param(_) => param,
        });
        Ok(Self {
            text: text.to_owned(),
            origin: url.origin().ascii_serialization(),
            segments: segments.collect(),
            query: url.query().map(str::to_owned),
            query_names: url
                .query_pairs()
                .map(|(name, _)| name.into_owned())
                .collect(),
            is_https: scheme == "https://",
            has_safe_way: scheme == "https://" || is_loopback(&url),
        })
    }

    /// Whether nobody on the way can read or change what is sent: it goes by HTTPS, or does not
    /// leave this machine.
    #[must_use]
    pub fn has_safe_way(&self) -> bool {
        self.has_safe_way
    }

    /// Whether it is asked with TLS.
    pub(super) fn is_https(&self) -> bool {
        self.is_https
    }

    /// Names of the query parameters that the operator wrote. Of two parameters of one name, services
    /// take the first, the last or both: so the policy may not add another.
    pub(super) fn has_query(&self, name: &str) -> bool {
        self.query_names.contains(name)
    }

    /// Names of its parameters.
    #[must_use]
    pub fn params(&self) -> BTreeSet<&str> {
        let segments = self.segments.iter();
        let names = segments.filter_map(|segment| match segment {
            Segment::Param(name) => Some(name.as_str()),
            Segment::Fixed(_) => None,
        });
        names.collect()
    }

    /// The address with values in the place of its parameters.
    pub(super) fn fill(
        &self,
        params: &[(String, String)],
        query: &[(String, String)],
    ) -> Result<Url, FillError> {
        let mut path = String::new();
        for segment in &self.segments {
            path.push('/');
            match segment {
                Segment::Fixed(text) => path.push_str(text),
                Segment::Param(name) => {
                    let value = params.iter().find(|(param, _)| param == name);
                    let (_, value) = value.ok_or_else(|| FillError::Missing(name.clone()))?;
                    // Encoded or not, these two are no names of anything (RFC 3986, section 5.2.4).
                    if matches!(value.as_str(), "" | "." | "..") {
                        return Err(FillError::Value);
                    }
                    path.extend(utf8_percent_encode(value, &ENCODED));
                }
            }
        }
        let mut url =
            Url::parse(&format!("{}{path}", self.origin)).map_err(|_| FillError::Value)?;
        // It cannot be another one; if it could, nothing is asked.
        if url.path() != path {
            return Err(FillError::Value);
        }
        url.set_query(self.query.as_deref());
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn segment(text: &str) -> Result<Segment, TemplateError> {
    if !text.contains(['{', '}']) {
        return Ok(Segment::Fixed(text.to_owned()));
    }
    let name = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let Some(name) = name.filter(|name| !name.contains(['{', '}'])) else {
        return Err(TemplateError::Part(text.to_owned()));
    };
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(fits) {
        return Err(TemplateError::Name(name.to_owned()));
    }
    Ok(Segment::Param(name.to_owned()))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, value: &str) -> Result<String, FillError> {
        let template = Template::parse(template).unwrap();
        let params = [("user".to_owned(), value.to_owned())];
        template.fill(&params, &[]).map(String::from)
    }

    #[test]
    fn a_value_is_one_segment_whatever_it_is() {
        let template = "https://ent.internal:8443/v1/users/{user}/plan?x=1";
        for (value, segment) in [
            ("ann", "ann"),
            ("ann@example.com", "ann%40example.com"),
            ("../admin?x=", "..%2Fadmin%3Fx%3D"),
            ("%2f", "%252f"),
            ("%2e%2e", "%252e%252e"),
            ("...", "..."),
            ("a\\b", "a%5Cb"),
            ("a#b", "a%23b"),
            ("a\r\nhost: x", "a%0D%0Ahost%3A%20x"),
            ("\u{ff0e}\u{ff0e}", "%EF%BC%8E%EF%BC%8E"),
        ] {
            assert_eq!(
                filled(template, value).unwrap(),
                format!("https://ent.internal:8443/v1/users/{segment}/plan?x=1")
            );
        }
        for value in ["", ".", ".."] {
            assert_eq!(filled(template, value), Err(FillError::Value), "{value}");
        }
    }

    #[test]
    fn query_parameters_come_after_those_of_the_operator() {
        let template = Template::parse("http://127.0.0.1/a?x=1").unwrap();
        let query = [("y".to_owned(), "a&x=2#".to_owned())];
        let url = template.fill(&[], &query).unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1/a?x=1&y=a%26x%3D2%23");
    }

    #[test]
    fn a_parameter_without_a_value_is_named() {
        let template = Template::parse("http://127.0.0.1/{user}/{plan}").unwrap();
        assert_eq!(template.params(), BTreeSet::from(["plan", "user"]));
        let params = [("user".to_owned(), "ann".to_owned())];
        let missing = FillError::Missing("plan".to_owned());
        assert_eq!(template.fill(&params, &[]), Err(missing));
    }

    #[test]
    fn malformed_addresses_are_told_apart() {
        use TemplateError as E;
        for (text, error) in [
            ("ftp://a/b", E::NotUrl),
            ("ent.internal/v1", E::NotUrl),
            ("https:///v1", E::NotUrl),
            ("https://me:pass@a/b", E::User),
            ("https://a/b#c", E::Fragment),
            ("https://{host}/b", E::Outside),
            ("https://a/b?user={user}", E::Outside),
            ("https://a/users-{user}", E::Part("users-{user}".to_owned())),
            ("https://a/{user", E::Part("{user".to_owned())),
            ("https://a/{{user}}", E::Part("{{user}}".to_owned())),
            ("https://a/{}", E::Name(String::new())),
            ("https://a/{User}", E::Name("User".to_owned())),
            ("https://a/b/../{user}", E::Dots),
        ] {
            let parsed = Template::parse(text);
            assert_eq!(parsed, Err(error), "{text}");
        }
    }

    #[test]
    fn plain_http_is_safe_on_this_machine_alone() {
        for (text, safe) in [
            ("https://ent.internal/", true),
            ("http://localhost:1/", true),
            ("http://127.0.0.9/", true),
            ("http://[::1]:8181/v1", true),
            ("http://ent.internal/", false),
            ("http://10.0.0.1/", false),
            ("http://localhost.example.com/", false),
        ] {
            assert_eq!(
                Template::parse(text).unwrap().has_safe_way(),
                safe,
                "{text}"
            );
        }
    }
}
