//! The claims of a token.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// The claims of a verified token: whoever has one knows that the signature,
/// the times, the issuer and the audience were in order.
pub struct Claims {
    /// Always an object.
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

    /// Claims that were verified when they were written down; nothing where
    /// these are none.
    pub fn recorded(json: Value) -> Option<Self> {
        let expires_at = json.as_object()?.get("exp").and_then(seconds)?;
        // Nobody streams by them, so that no leeway is of interest.
        Some(Self {
            json,
            expires_at,
            accepted_until: expires_at,
        })
    }

    /// A claim by JSON pointer (RFC 6901): a string as it is, anything else as
    /// JSON text. `None` where it is absent or null.
    #[must_use]
    pub fn get(&self, pointer: &str) -> Option<Cow<'_, str>> {
        match self.json.pointer(pointer)? {
            Value::Null => None,
            Value::String(text) => Some(Cow::Borrowed(text)),
            other => Some(Cow::Owned(other.to_string())),
        }
    }

    /// All claims, as a JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        self.json.to_string()
    }

    /// All claims, an object.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.json
    }

    /// `exp`, in seconds since 1970, rounded down. Every verified token has
    /// one; it is an option because the policy contract leaves room for
    /// credentials that have none.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        Some(self.expires_at)
    }

    /// When the host stops taking the token, in seconds since 1970: its `exp`
    /// and the leeway of its key set. Whoever is let in by the leeway is not cut
    /// off before it is over.
    #[must_use]
    pub fn accepted_until(&self) -> u64 {
        self.accepted_until
    }
}

/// Claims say who somebody is: nothing but their names is ever printed.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims ")?;
        f.debug_set()
            .entries(self.json.as_object().into_iter().flat_map(Map::keys))
            .finish()
    }
}

/// A payload as it was read. A claim that is there twice is an error, as RFC
/// 7519 section 4 allows: two parsers that take different ones of the two
/// would let a token mean one thing here and another behind the gateway.
pub(super) struct ClaimsSet(pub(super) Map<String, Value>);

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

/// A `NumericDate` (RFC 7519 section 2) in whole seconds: any JSON number, and
/// nothing but a number. One before 1970 is as past as 1970 itself.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a date out of range is clamped, and parts of a second are cut"
)]
pub(super) fn seconds(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_f64().map(|date| date as u64))
}
