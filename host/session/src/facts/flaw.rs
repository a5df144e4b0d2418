//! Common mistakes in the form of a token, in words for the client.
//!
//! A policy only learns that the token is missing or malformed. That does not help a user who
//! pasted it with quotes or left out `Bearer`.

use axum::http::header;

use super::secrets::bearer_token;
use super::{Credentials, Facts};

const BYTE_ORDER_MARK: char = '\u{feff}';

impl Facts {
    /// Mistake in the form of the client's token, if it is a common one.
    #[must_use]
    pub fn token_flaw(&self) -> Option<&'static str> {
        let authorization = self.header_lines(&header::AUTHORIZATION).next();
        let authorization = authorization.map(String::from_utf8_lossy);
        if let Some(value) = authorization.as_deref() {
            // Text without a token, or bytes that are no text.
            let flaw = match bearer_token(value) {
                Some(token) => flaw(token).or_else(|| not_ascii(token)),
                None if self.token().is_some() => None,
                None => Some(without_bearer(value)),
            };
            if flaw.is_some() {
                return flaw;
            }
        }
        let query = self.query("token", Credentials::Shown);
        let offered = || self.offered_tokens().find_map(flaw);
        query.as_deref().and_then(flaw).or_else(offered)
    }
}

fn flaw(token: &str) -> Option<&'static str> {
    let token = token.trim();
    if token.starts_with(BYTE_ORDER_MARK) {
        Some("it begins with a byte order mark")
    } else if token.starts_with(['"', '\'']) || token.ends_with(['"', '\'']) {
        Some("it is in quotes")
    } else if token
        .get(..6)
        .is_some_and(|word| word.eq_ignore_ascii_case("bearer"))
    {
        Some("it begins with Bearer, which is no part of it")
    } else {
        None
    }
}

fn not_ascii(token: &str) -> Option<&'static str> {
    (!token.is_ascii()).then_some("it has characters that are not ASCII")
}

/// Mistake of an `Authorization` header that has a value and no token.
fn without_bearer(authorization: &str) -> &'static str {
    let value = authorization.trim();
    if value.eq_ignore_ascii_case("bearer") {
        "Authorization has nothing behind Bearer"
    } else if value.contains(char::is_whitespace) {
        "the scheme of Authorization is not Bearer"
    } else {
        "Authorization has no scheme: write Bearer before the token"
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::facts::tests::with_headers;

    fn facts(uri: &str, authorization: Option<&[u8]>) -> Facts {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(
                header::AUTHORIZATION,
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        with_headers(uri, headers)
    }

    #[test]
    fn the_fault_that_somebody_made_is_named() {
        for (authorization, said) in [
            ("eyJh.eyJi.c", "has no scheme"),
            ("\"eyJh.eyJi.c\"", "has no scheme"),
            ("Bearer", "nothing behind Bearer"),
            ("Basic dTpw", "is not Bearer"),
            ("Token eyJh.eyJi.c", "is not Bearer"),
            ("Bearer \"eyJh.eyJi.c\"", "in quotes"),
            ("Bearer 'eyJh.eyJi.c'", "in quotes"),
            ("Bearer \u{feff}eyJh.eyJi.c", "byte order mark"),
            ("Bearer eyJh.eyJi.ç", "not ASCII"),
            ("Bearer Bearer eyJh.eyJi.c", "begins with Bearer"),
        ] {
            let flaw = facts("/x", Some(authorization.as_bytes())).token_flaw();
            assert!(
                flaw.is_some_and(|flaw| flaw.contains(said)),
                "{authorization}: {flaw:?}"
            );
        }
        for (query, said) in [
            ("%EF%BB%BFeyJh.eyJi.c", "byte order mark"),
            ("%22eyJh.eyJi.c%22", "in quotes"),
            ("Bearer%20eyJh.eyJi.c", "begins with Bearer"),
        ] {
            let flaw = facts(&format!("/x?token={query}"), None).token_flaw();
            assert!(
                flaw.is_some_and(|flaw| flaw.contains(said)),
                "{query}: {flaw:?}"
            );
        }
    }

    #[test]
    fn a_token_that_is_well_formed_or_not_there_has_no_flaw() {
        for authorization in [None, Some("Bearer eyJh.eyJi.c"), Some("bearer  nonsense ")] {
            let flaw = facts("/x", authorization.map(str::as_bytes)).token_flaw();
            assert_eq!(flaw, None, "{authorization:?}");
        }
        // The query has the token.
        let basic = facts("/x?token=eyJh.eyJi.c", Some(b"Basic dTpw"));
        assert_eq!(basic.token_flaw(), None);
    }
}
