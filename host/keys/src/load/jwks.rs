//! JWK sets (RFC 7517).

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::{Key, Loaded, bounded};
use crate::errors::KeyError;

/// Key of a JWK set.
#[derive(PartialEq)]
pub(crate) struct NamedKey {
    /// `kid` of the key.
    pub(crate) id: Option<String>,
    pub(crate) key: Key,
}

impl AsRef<Key> for NamedKey {
    fn as_ref(&self) -> &Key {
        &self.key
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// Reads a JWK set. A key that cannot be used is skipped, as RFC 7517 section 5 asks: its type,
/// `alg`, `use` or `key_ops` may be unsupported, or it may be weak or damaged. A new kind of key
/// must not lock out clients with a good one.
pub(crate) fn jwks(json: &str, allowed: &[Algorithm]) -> Result<Loaded<NamedKey>, KeyError> {
    let set: JwkSet = serde_json::from_str(json).map_err(|error| {
        // The text of the error may quote the input, which may hold a secret.
        let place = format!("line {}, column {}", error.line(), error.column());
        KeyError::new(
            format!("this is not a JWK set: see {place}"),
            r#"give a JSON object of the form {"keys": [{"kty": "RSA", "kid": "…", …}]}"#,
        )
    })?;
    let mut loaded = Loaded {
        keys: Vec::<NamedKey>::new(),
        remarks: Vec::new(),
    };
    for (index, json) in set.keys.into_iter().enumerate() {
        let name = name(index, &json);
        match read_jwk(json, allowed) {
            Err(reason) => loaded.remarks.push(format!("{name} is not used: {reason}")),
            Ok(named) if loaded.keys.contains(&named) => {
                let remark = format!("{name} is not used: it is a duplicate");
                loaded.remarks.push(remark);
            }
            Ok(named) => {
                let twin = |other: &NamedKey| other.id.is_some() && other.id == named.id;
                if loaded.keys.iter().any(twin) {
                    let remark = format!(
                        "{name} has the `kid` of a key before it (RFC 7517 section 4.5); both are \
                         tried"
                    );
                    loaded.remarks.push(remark);
                }
                loaded.keys.push(named);
            }
        }
    }
    if loaded.keys.is_empty() {
        let mut reasons = loaded.remarks.join("; ");
        if !reasons.is_empty() {
            reasons = format!(" ({})", base::text::clip(&reasons, 1000));
        }
        return Err(KeyError::new(
            format!("no key of the JWK set can verify a token with one of {allowed:?}{reasons}"),
            "look at `kty`, `crv`, `alg`, `use` and `key_ops` of its keys, and at `algorithms` here",
        ));
    }
    Ok(bounded(loaded))
}

/// Name of a key in a report.
fn name(index: usize, json: &Value) -> String {
    match json.get("kid").and_then(Value::as_str) {
        Some(kid) => format!("key {index} (\"{}\")", base::text::clean(kid, 60)),
        None => format!("key {index}"),
    }
}

/// Reads a key. The error says why it is not used.
fn read_jwk(json: Value, allowed: &[Algorithm]) -> Result<NamedKey, String> {
    let is_private = json.get("kty") != Some(&"oct".into()) && json.get("d").is_some();
    let member = |name: &str| {
        let value = json.get(name).and_then(Value::as_str);
        base::text::clean(value.unwrap_or("none"), 20)
    };
    let kind = format!("`kty` is {}, `crv` is {}", member("kty"), member("crv"));
    let jwk: Jwk = serde_json::from_value(json)
        .map_err(|_| "it is not a JSON Web Key, or lacks a member of its type".to_owned())?;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return Err(format!("its type or curve is not supported ({kind})")),
    };
    if is_private {
        let reason = "it has its private part, so that whoever has read it can make tokens: have \
                      the issuer replace it";
        return Err(reason.to_owned());
    }
    let common = &jwk.common;
    if !allowed.contains(&algorithm) {
        return Err(format!(
            "it is for {algorithm:?}, which `algorithms` does not list"
        ));
    }
    if common
        .key_algorithm
        .is_some_and(|alg| alg != KeyAlgorithm::from(algorithm))
    {
        return Err("its `alg` is another one than can be verified".to_owned());
    }
    if common
        .public_key_use
        .as_ref()
        .is_some_and(|r#use| *r#use != PublicKeyUse::Signature)
    {
        return Err("its `use` is not \"sig\"".to_owned());
    }
    if common
        .key_operations
        .as_ref()
        .is_some_and(|ops| !ops.contains(&KeyOperations::Verify))
    {
        return Err("its `key_ops` has no \"verify\"".to_owned());
    }
    let key = DecodingKey::from_jwk(&jwk)
        .map_err(|_| "it is not valid base64url".to_owned())
        .and_then(|decoding| Key::new(decoding).map_err(|unfit| unfit.to_string()))?;
    Ok(NamedKey {
        id: jwk.common.key_id,
        key,
    })
}
