//! Claims of a token.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::errors::TokenError;

/// Claims of a verified token. Its signature, times, issuer and audience are valid.
pub struct Claims {
    /// The claims, always a JSON object.
    json: Value,
    expires_at: u64,
    accepted_until: u64,
}

impl Claims {
    pub(super) fn new(claims: ClaimsSet, expires_at: u64, accepted_until: u64) -> Self {
        Self {
            json: Value::Object(claims.0),
            expires_at,
            accepted_until,
        }
    }

    /// Claims from a record, which were verified when they were recorded. `None` if they are no
    /// object with an expiry.
    pub fn recorded(json: Value) -> Option<Self> {
        let expires_at = json.as_object()?.get("exp").and_then(seconds)?;
        // Nobody is admitted by recorded claims, so they need no leeway.
        Some(Self {
            json,
            expires_at,
            accepted_until: expires_at,
        })
    }

    /// A claim by JSON pointer (RFC 6901): a string as it is, anything else as JSON text. `None` if
    /// the claim is absent or null.
    #[must_use]
    pub fn get(&self, pointer: &str) -> Option<Cow<'_, str>> {
        match self.json.pointer(pointer)? {
            Value::Null => None,
            Value::String(text) => Some(Cow::Borrowed(text)),
            other => Some(Cow::Owned(other.to_string())),
        }
    }

    /// All claims, as the text of a JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        self.json.to_string()
    }

    /// All claims, as a JSON object.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.json
    }

    /// `exp`, in seconds since 1970, rounded down. Every verified token has one. It is an `Option`
    /// because the policy contract also allows credentials without an expiry.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        Some(self.expires_at)
    }

    /// Time until which the gateway accepts the token, in seconds since 1970: `exp` plus the leeway
    /// of the key set. A stream that was admitted thanks to the leeway lasts as long.
    #[must_use]
    pub fn accepted_until(&self) -> u64 {
        self.accepted_until
    }
}

/// Prints the names of claims and no values, which are personal data.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims ")?;
        f.debug_set()
            .entries(self.json.as_object().into_iter().flat_map(Map::keys))
            .finish()
    }
}

/// Payload of a token as it was parsed. A repeated claim is an error, as RFC 7519 section 4 allows:
/// two parsers could otherwise use different values of it.
pub(super) struct ClaimsSet(pub(super) Map<String, Value>);

impl ClaimsSet {
    /// A claim that is a date, in seconds since 1970; `None` if it is absent.
    pub(super) fn date(&self, name: &str) -> Option<Result<u64, TokenError>> {
        let claim = self.0.get(name)?;
        Some(seconds(claim).ok_or(TokenError::Malformed))
    }
}

impl<'de> Deserialize<'de> for ClaimsSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueMembers)
    }
}

struct UniqueMembers;

impl<'de> Visitor<'de> for UniqueMembers {
    type Value = ClaimsSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ClaimsSet, A::Error> {
        let mut claims = Map::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("a claim is there twice"));
            }
        }
        Ok(ClaimsSet(claims))
    }
}

/// A `NumericDate` (RFC 7519 section 2) in whole seconds: any JSON number, and nothing else. A time
/// before 1970 becomes 1970.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a date out of range is clamped, and parts of a second are cut"
)]
fn seconds(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_f64().map(|date| date as u64))
}
