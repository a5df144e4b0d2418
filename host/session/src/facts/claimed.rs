//! Identity that a client claims, which nobody has verified.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::Facts;
use base::text;

/// Maximum length of a token's payload that is looked at, in bytes of base64.
const MAX_PAYLOAD: usize = 8 * 1024;
/// Maximum length of a claim that is shown, in bytes.
const MAX_CLAIM: usize = 128;

/// Identity that a client's token claims. Nobody has verified it: anybody can write such a token.
/// It is for operators who look for a user's refusals, and never for a decision.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Claim `user_id`, or else `sub`.
    pub user: Option<String>,
    /// Claim `tenant_id`.
    pub tenant: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    user_id: Option<String>,
    sub: Option<String>,
    tenant_id: Option<String>,
}

impl Facts {
    /// Identity that the client's token claims, without a look at its signature. `None` if it
    /// claims none.
    #[must_use]
    pub fn claimed(&self) -> Option<Claimed> {
        let token = self.token()?;
        let payload = token.split('.').nth(1)?;
        if payload.len() > MAX_PAYLOAD {
            return None;
        }
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?;
        let payload: Payload = serde_json::from_slice(&payload).ok()?;
        let shown = |claim: String| text::clean(&self.presentable(&claim), MAX_CLAIM);
        let user = payload.user_id.or(payload.sub).map(shown);
        let tenant = payload.tenant_id.map(shown);
        (user.is_some() || tenant.is_some()).then_some(Claimed { user, tenant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Headers;

    fn claimed(payload: &str) -> Option<Claimed> {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(payload);
        let uri = format!("/?token=e30.{payload}.nobody-looks-at-this");
        let headers = Headers::from(axum::http::HeaderMap::new());
        let remote = "127.0.0.1:9".parse().unwrap();
        Facts::new(
            "s".into(),
            "r".into(),
            &uri.parse().unwrap(),
            Vec::new(),
            headers,
            remote,
        )
        .claimed()
    }

    #[test]
    fn a_token_claims_what_it_says_and_what_is_shown_of_it_is_bounded_and_printable() {
        let both = claimed(r#"{"user_id":"u-1","sub":"other","tenant_id":"acme","exp":1}"#);
        assert_eq!(
            both,
            Some(Claimed {
                user: Some("u-1".to_owned()),
                tenant: Some("acme".to_owned())
            })
        );
        let subject = claimed(r#"{"sub":"u-2"}"#).unwrap();
        assert_eq!(subject.user.as_deref(), Some("u-2"));
        let long = format!(r#"{{"sub":"\u001b[31m{}"}}"#, "x".repeat(1000));
        let shown = claimed(&long).unwrap().user.unwrap();
        assert!(shown.len() <= MAX_CLAIM + 3, "{shown}");
        assert!(!shown.chars().any(char::is_control), "{shown}");
        let inner = r#"{"sub":"eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJl"}"#;
        let shown = claimed(inner).unwrap().user.unwrap();
        assert!(!shown.contains("eyJ"), "{shown}");
    }

    #[test]
    fn what_is_no_token_claims_nothing() {
        for payload in ["", "{}", "[]", "u-1", r#"{"user_id":5}"#] {
            assert_eq!(claimed(payload), None, "{payload}");
        }
        let large = format!(r#"{{"sub":"u","more":"{}"}}"#, "x".repeat(MAX_PAYLOAD));
        assert_eq!(claimed(&large), None);
    }
}
