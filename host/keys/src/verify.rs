//! Verification of a token: RFC 7515 (JWS), RFC 7519 (JWT) and the advice of RFC 8725.
//!
//! `jsonwebtoken` verifies the signature. Header and claims are parsed here, once each, because its
//! own validation treats an `aud` or `iss` of the wrong JSON type as absent.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::claims::{Claims, ClaimsSet};
use crate::clock::Validity;
use crate::errors::TokenError;
use crate::file::KeyFile;
use crate::key_set::{KeySet, Keys};
use crate::load::{Key, MOST_TRIED, NamedKey};

/// Maximum length of a token, in bytes. The longest tokens in use carry a certificate or some
/// dozens of groups, and stay below half of it.
const MAX_TOKEN: usize = 16 * 1024;

/// Header of a token (RFC 7515 section 4.1), as far as it matters. Other members are ignored, above
/// all keys that a token carries (`jwk`, `x5c`) or points to (`jku`, `x5u`). A repeated member is
/// an error.
#[derive(Deserialize)]
struct JoseHeader {
    alg: String,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    /// Extensions that must be understood. The gateway supports none.
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
}

/// Issuer that a token claims to be from. It chooses the keys that the token is verified with, which
/// then verify the claim too.
#[derive(Deserialize)]
struct ClaimedIssuer {
    #[serde(default)]
    iss: String,
}

/// Unlike a plain `Option`, rejects an explicit `null` as a value of the wrong type.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl KeySet {
    /// Verifies a token. Surrounding white space makes it malformed.
    ///
    /// # Errors
    /// [`TokenError`] if the token is not valid in all respects.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.verify_at(token, now.as_secs())
    }

    /// [`KeySet::verify`] at a given time, in seconds since 1970.
    pub fn verify_at(&self, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Missing);
        }
        if self.file.as_ref().is_some_and(KeyFile::is_gone) {
            return Err(TokenError::Unavailable);
        }
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let header: JoseHeader = read(header)?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        if let Keys::ByIssuer(sets) = &self.keys {
            let issuer: ClaimedIssuer = read(payload)?;
            let named = |(_, set): &&(String, Arc<Self>)| set.issuers.contains(&issuer.iss);
            let (_, set) = sets.iter().find(named).ok_or(TokenError::WrongIssuer)?;
            return set.verify_at(token, now);
        }
        let algorithm = algorithm(&header.alg).ok_or(TokenError::BadSignature)?;
        self.check_signature(header.kid.as_deref(), algorithm, message, signature)?;
        self.check_claims(read(payload)?, now)
    }

    /// Checks the signature. The algorithm must be the one that the key is for. The operator allows
    /// it, because keys for other algorithms are not in the set.
    ///
    /// `kid` is only compared with the names of the keys. A token without one may be signed by any
    /// key of the set for its algorithm, because issuers of a single key often leave it out.
    fn check_signature(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        message: &str,
        signature: &str,
    ) -> Result<(), TokenError> {
        let signed_by = |key: &Key| key.signed(message, signature);
        let fits = match &self.keys {
            Keys::Unnamed(keys) => {
                let of_its_kind = |key: &&Key| key.algorithm() == algorithm;
                let mut keys = keys.iter().filter(of_its_kind).take(MOST_TRIED);
                keys.any(signed_by)
            }
            Keys::Set(keys) => {
                return check_named(keys, kid, algorithm, signed_by);
            }
            Keys::Provider(provider) => {
                let look = |keys: &[NamedKey]| check_named(keys, kid, algorithm, signed_by);
                return provider.with(kid, look);
            }
            // Each of them checks on its own.
            Keys::ByIssuer(_) => false,
        };
        if fits {
            Ok(())
        } else {
            Err(TokenError::BadSignature)
        }
    }

    fn check_claims(&self, claims: ClaimsSet, now: u64) -> Result<Claims, TokenError> {
        let expires_at = claims
            .date("exp")
            .transpose()?
            .ok_or(TokenError::Malformed)?;
        let accepted_until = expires_at.saturating_add(self.leeway_seconds);
        let validity = self.validity(&claims, accepted_until, now)?;
        let named = self.check_names(&claims);
        if named.is_ok() {
            let issued_at = claims.date("iat").and_then(Result::ok);
            self.clock.note(now, issued_at, validity);
        }
        match validity {
            Validity::Expired => return Err(TokenError::Expired),
            Validity::NotYet => return Err(TokenError::NotYetValid),
            Validity::Now => {}
        }
        named?;
        Ok(Claims::new(claims, expires_at, accepted_until))
    }

    /// Whether a token is valid at this time, leeway included.
    fn validity(
        &self,
        claims: &ClaimsSet,
        accepted_until: u64,
        now: u64,
    ) -> Result<Validity, TokenError> {
        if now >= accepted_until {
            return Ok(Validity::Expired);
        }
        let not_before = claims.date("nbf").transpose()?.unwrap_or_default();
        if now.saturating_add(self.leeway_seconds) < not_before {
            return Ok(Validity::NotYet);
        }
        Ok(Validity::Now)
    }

    /// Checks issuer and audience.
    fn check_names(&self, claims: &ClaimsSet) -> Result<(), TokenError> {
        let issuer = claims.0.get("iss").and_then(Value::as_str);
        if !self.issuers.is_empty()
            && !issuer.is_some_and(|iss| self.issuers.iter().any(|i| i == iss))
        {
            return Err(TokenError::WrongIssuer);
        }
        match claims.0.get("aud") {
            None if self.audiences.is_empty() => Ok(()),
            // RFC 7519 section 4.1.3: a recipient must refuse a token whose audience does not name
            // it. A key set without audiences is named by none.
            Some(audience) if names_one_of(audience, &self.audiences) => Ok(()),
            _ => Err(TokenError::WrongAudience),
        }
    }
}

/// Checks the signature against keys that may have names.
fn check_named(
    keys: &[NamedKey],
    kid: Option<&str>,
    algorithm: Algorithm,
    signed_by: impl Fn(&Key) -> bool,
) -> Result<(), TokenError> {
    let is_named = |named: &&NamedKey| kid.is_none() || named.id.as_deref() == kid;
    let mut named = keys.iter().filter(is_named).peekable();
    if kid.is_some() && named.peek().is_none() {
        return Err(TokenError::UnknownKey);
    }
    let keys = named.map(|named| &named.key);
    let of_its_kind = |key: &&Key| key.algorithm() == algorithm;
    if keys.filter(of_its_kind).take(MOST_TRIED).any(signed_by) {
        Ok(())
    } else {
        Err(TokenError::BadSignature)
    }
}

/// Algorithm of exactly this name. `none` is no algorithm, in any spelling.
fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "HS256" => Some(Algorithm::HS256),
        "RS256" => Some(Algorithm::RS256),
        "ES256" => Some(Algorithm::ES256),
        "EdDSA" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

fn read<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)?;
    // Serde would also accept an array for a struct: its values in order.
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(TokenError::Malformed);
    }
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

/// Whether `aud`, a string or a list of strings, has an accepted value.
fn names_one_of(audience: &Value, accepted: &[String]) -> bool {
    match audience {
        Value::String(one) => accepted.contains(one),
        Value::Array(list) => {
            list.iter().all(Value::is_string)
                && list
                    .iter()
                    .filter_map(Value::as_str)
                    .any(|one| accepted.iter().any(|a| a == one))
        }
        _ => false,
    }
}
