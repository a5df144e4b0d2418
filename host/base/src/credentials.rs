//! The places where a client's request carries a credential, and a scanner that finds tokens in any
//! text.
//!
//! Policies see these only with the grant `credentials`. Records, logs, backends, errors and file
//! names never show their values.

use std::ops::Range;

use axum::http::{HeaderName, header};

/// Header with a resume token. It takes precedence over the query parameter [`RESUME_PARAMETER`].
pub const RESUME_HEADER: HeaderName = HeaderName::from_static("x-sluice-resume");
/// Query parameter with a resume token.
pub const RESUME_PARAMETER: &str = "resume";
/// Query parameter with the client's token.
pub const TOKEN_PARAMETER: &str = "token";
/// Prefix of every resume token, by which the scanner recognises one anywhere.
pub const RESUME_PREFIX: &str = "sluice.resume.";
/// Prefix of a subprotocol that is a token.
pub const BEARER_PREFIX: &str = "sluice.bearer.";

/// Text that replaces a credential.
pub const HIDDEN: &str = "[withheld]";

/// Headers whose whole value is a credential. `Sec-WebSocket-Protocol` is none of them: only its
/// entries that begin with [`BEARER_PREFIX`] are credentials.
const HEADERS: [HeaderName; 4] = [
    RESUME_HEADER,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
];

/// Query parameters whose value is a credential.
const PARAMETERS: [&str; 2] = [TOKEN_PARAMETER, RESUME_PARAMETER];

/// Whole words, one of which makes a name sensitive.
const WORDS: [&str; 11] = [
    "jwt", "key", "apikey", "otp", "pin", "sig", "bearer", "pwd", "sid", "csrf", "resume",
];

/// Parts of a word, one of which makes a name sensitive.
const PARTS: [&str; 7] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "passw",
    "credential",
    "signature",
];

/// Minimum length, in bytes, of text that is taken for a JWT.
const SHORTEST_JWT: usize = 16;

/// Whether the value of this header is a credential.
#[must_use]
pub fn is_header(name: &HeaderName) -> bool {
    HEADERS.contains(name)
}

/// Whether the value of this query parameter is a credential. Upper and lower case are the same,
/// because a client that writes `Token` has shown its token too.
#[must_use]
pub fn is_parameter(name: &str) -> bool {
    PARAMETERS
        .iter()
        .any(|parameter| name.eq_ignore_ascii_case(parameter))
}

/// Whether a value of this name is likely to be a secret. It errs on the side of yes, because it
/// protects what is stored and not what is used.
#[must_use]
pub fn is_sensitive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    PARTS.iter().any(|part| name.contains(part))
        || words.any(|word| WORDS.contains(&word))
        || name == "x-auth"
}

/// Positions of tokens in a text: JWTs, each of which begins with `{"` in base64url, and the
/// gateway's own tokens, by their prefix.
pub fn tokens(text: &str) -> impl Iterator<Item = Range<usize>> {
    let jwts = starts(text, "eyJ").filter(|range| range.len() >= SHORTEST_JWT);
    let bearers = starts(text, BEARER_PREFIX);
    jwts.chain(bearers).chain(starts(text, RESUME_PREFIX))
}

/// The text, with [`HIDDEN`] in place of each token.
#[must_use]
pub fn without_tokens(text: &str) -> String {
    hidden(text, tokens(text).collect())
}

/// The text, with [`HIDDEN`] in place of these ranges, which may overlap.
pub fn hidden(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    for range in ranges {
        if range.start >= at {
            shown.push_str(&text[at..range.start]);
            shown.push_str(HIDDEN);
        }
        at = at.max(range.end);
    }
    shown.push_str(&text[at..]);
    shown
}

/// Each run of token characters that begins with `prefix`.
fn starts<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find(prefix)?;
        let length = text[start..]
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')));
        from = length.map_or(text.len(), |length| start + length);
        Some(start..from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_others() {
        for name in [
            "Authorization",
            "cookie",
            "set-cookie",
            "token",
            "access_token",
            "resume",
            "x-sluice-resume",
            "x-api-key",
            "client-secret",
            "password",
            "X-Amz-Signature",
            "sec-websocket-key",
            "x-auth",
            "sig",
        ] {
            assert!(is_sensitive(name), "{name}");
        }
        for name in [
            "meeting_id",
            "source",
            "user-agent",
            "tenant_id",
            "auth.user_id",
            "email",
            "exp",
            "sample_rate",
            "device_id",
            "monkey",
            "spin",
            "sec-websocket-protocol",
        ] {
            assert!(!is_sensitive(name), "{name}");
        }
    }

    #[test]
    fn whatever_is_withheld_is_not_recorded_either() {
        for name in HEADERS {
            assert!(is_header(&name) && is_sensitive(name.as_str()), "{name}");
        }
        for name in PARAMETERS {
            assert!(is_parameter(name) && is_sensitive(name), "{name}");
            assert!(is_parameter(&name.to_ascii_uppercase()), "{name}");
        }
    }

    #[test]
    fn a_token_is_hidden_with_the_words_around_it_kept() {
        for (text, expected) in [
            (
                "got eyJhbGciOiJIUzI1NiJ9.e30.c2ln, twice",
                "got [withheld], twice",
            ),
            ("eyJust so eyJ", "eyJust so eyJ"),
            ("chat, sluice.bearer.opaque-1, b", "chat, [withheld], b"),
            ("?resume=sluice.resume.AbC_-1&a", "?resume=[withheld]&a"),
            (
                "a sluice.bearer.eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
                "a [withheld]",
            ),
            ("", ""),
        ] {
            assert_eq!(without_tokens(text), expected);
        }
    }
}
