//! Credentials that a client sent: its token, its resume token, and everything that must not be
//! shown.

use std::borrow::Cow;

use axum::http::header;

use super::{Credentials, Facts, bearer};
use base::credentials::{self, HIDDEN, RESUME_HEADER, RESUME_PARAMETER, TOKEN_PARAMETER};
use wire::headers;

/// Minimum length, in bytes, of a value that is hidden as a secret. A shorter one cannot be told
/// from an ordinary word.
const SHORTEST_SECRET: usize = 8;
/// Maximum number of a client's cookies whose values are hidden.
const MAX_COOKIES: usize = 64;

impl Facts {
    /// The client's token: from `Authorization: Bearer` (RFC 6750, section 2.1), or else from the
    /// query parameter `token`, or else from a subprotocol. A token that the client has sent since
    /// takes its place. Deployed clients send white space
    /// around and inside of it, which a JWT never has, so it is removed.
    #[must_use]
    pub fn token(&self) -> Option<String> {
        if let Some(renewed) = self.renewed() {
            return without_white_space(&renewed);
        }
        let authorization = self.header("authorization", Credentials::Shown);
        let bearer = authorization.as_deref().and_then(bearer_token);
        let bearer = bearer.map(|token| Cow::Owned(token.to_owned()));
        let token = bearer.or_else(|| self.query(TOKEN_PARAMETER, Credentials::Shown));
        token
            .and_then(|token| without_white_space(&token))
            .or_else(|| self.offered_tokens().find_map(without_white_space))
    }

    /// Tokens that came as subprotocols.
    pub fn offered_tokens(&self) -> impl Iterator<Item = &str> {
        headers::elements(self.header_lines(&header::SEC_WEBSOCKET_PROTOCOL))
            .filter_map(bearer::token)
    }

    /// Resume token: from the header `x-sluice-resume`, or else from the query parameter `resume`.
    #[must_use]
    pub fn resume(&self) -> Option<Cow<'_, str>> {
        self.header(RESUME_HEADER.as_str(), Credentials::Shown)
            .or_else(|| self.query(RESUME_PARAMETER, Credentials::Shown))
    }

    /// Text from the client that is safe to show, such as a meeting's id. Credentials of this
    /// connection and everything that looks like a token are hidden.
    #[must_use]
    pub fn presentable<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if text.len() < SHORTEST_SECRET {
            return text.into();
        }
        let shown = |name| self.header(name, Credentials::Shown);
        // The secret of these headers follows the scheme.
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
        let renewed = self.renewed();
        let tokens = [
            self.resume(),
            renewed.as_deref().map(Cow::Borrowed),
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
}

/// Token of a `Bearer` header. The scheme may have any case (RFC 9110, section 11.1).
pub(super) fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim_start().split_once(char::is_whitespace)?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn without_white_space(token: &str) -> Option<String> {
    let token: String = token.chars().filter(|c| !c.is_whitespace()).collect();
    (!token.is_empty()).then_some(token)
}
