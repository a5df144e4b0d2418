//! Reading keys: a shared secret, a public key in PEM, a JWK set (RFC 7517).
//!
//! Every key is tried out here, so that one that could never verify anything
//! is a mistake in the configuration and not a mystery at the first token.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use super::KeyError;

/// RFC 7518 section 3.2: an HS256 key is at least as long as its hash.
const SHORTEST_SECRET: usize = 32;

/// RFC 7518 section 3.3, and the most that the cryptography library takes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A token without `kid` is tried against every key that is made for its
/// algorithm, so their number bounds what one refusal costs.
const MOST_KEYS: usize = 32;

/// A key that was tried out, with the one algorithm that it is for.
pub(super) struct Key {
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// A key of a JWK set.
pub(super) struct NamedKey {
    /// Its `kid`.
    pub(super) id: Option<String>,
    pub(super) key: Key,
}

impl Key {
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether this key made the signature.
    pub(super) fn signed(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(
            signature,
            message.as_bytes(),
            &self.decoding,
            self.algorithm,
        )
        .is_ok_and(|fits| fits)
    }

    /// Tries the key out.
    fn new(decoding: DecodingKey) -> Result<Self, Unfit> {
        let algorithm = match (decoding.family(), decoding.kind()) {
            (AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(secret)) => {
                if secret.len() < SHORTEST_SECRET {
                    return Err(Unfit::ShortSecret(secret.len()));
                }
                Algorithm::HS256
            }
            (AlgorithmFamily::Rsa, kind) => {
                let bits = 8 * match kind {
                    DecodingKeyKind::SecretOrDer(der) => rsa::PublicKey::from_der(der)
                        .map_err(|_| Unfit::Rsa)?
                        .modulus_len(),
                    DecodingKeyKind::RsaModulusExponent { n, e } => RsaPublicKeyComponents { n, e }
                        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                        .map(|_| n.iter().skip_while(|byte| **byte == 0).count())
                        .map_err(|_| Unfit::Rsa)?,
                };
                if !RSA_BITS.contains(&bits) {
                    return Err(Unfit::RsaSize(bits));
                }
                Algorithm::RS256
            }
            (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| Unfit::Ec)?;
                Algorithm::ES256
            }
            (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(point)) => {
                ParsedPublicKey::new(&ED25519, point).map_err(|_| Unfit::Ed)?;
                Algorithm::EdDSA
            }
            (_, DecodingKeyKind::RsaModulusExponent { .. }) => return Err(Unfit::Rsa),
        };
        Ok(Self {
            algorithm,
            decoding,
        })
    }
}

/// Why a key that was read is of no use.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the secret is {0} bytes long, and HS256 asks for at least {SHORTEST_SECRET}")]
    ShortSecret(usize),
    #[error("it is not a valid RSA public key")]
    Rsa,
    #[error("the RSA key has {0} bits, and RS256 asks for 2048 to 8192")]
    RsaSize(usize),
    #[error("it is not a valid public key on the curve P-256, which ES256 asks for")]
    Ec,
    #[error("it is not a valid Ed25519 public key")]
    Ed,
}

impl Unfit {
    const fn help(&self) -> &'static str {
        match self {
            Self::ShortSecret(_) => "make one with `openssl rand -base64 32`",
            Self::RsaSize(_) => "have the issuer make a larger key",
            Self::Rsa | Self::Ec | Self::Ed => "copy the public key from the issuer again",
        }
    }
}

/// Reads a shared secret, for HS256.
pub(super) fn secret(secret: &[u8], allowed: &[Algorithm]) -> Result<Key, KeyError> {
    let key = Key::new(DecodingKey::from_secret(secret))
        .map_err(|unfit| KeyError::new(unfit.to_string(), unfit.help()))?;
    check_allowed(key, allowed)
}

/// Reads one public key in PEM, for `RS256`, `ES256` or `EdDSA`.
pub(super) fn pem(text: &[u8], allowed: &[Algorithm]) -> Result<Key, KeyError> {
    let label = only_pem_label(text)?;
    if !matches!(label.as_str(), "PUBLIC KEY" | "RSA PUBLIC KEY") {
        let help = match label.as_str() {
            "CERTIFICATE" => "take the key out of it with `openssl x509 -pubkey -noout -in FILE`",
            _ if label.ends_with("PRIVATE KEY") => {
                "a private key belongs to the issuer alone: give its public half, `openssl pkey -pubout -in FILE`"
            }
            _ => "give a PEM block that starts with -----BEGIN PUBLIC KEY-----",
        };
        return Err(KeyError::new(
            format!("the PEM block is a {label}, not a public key"),
            help,
        ));
    }
    let decoding = DecodingKey::from_rsa_pem(text)
        .or_else(|_| DecodingKey::from_ec_pem(text))
        .or_else(|_| DecodingKey::from_ed_pem(text))
        .map_err(|_| {
            KeyError::new(
                "the PEM block holds no key of a type that is supported",
                "use RSA (RS256), EC on the curve P-256 (ES256) or Ed25519 (EdDSA)",
            )
        })?;
    let key = Key::new(decoding)
        .map_err(|unfit| KeyError::new(format!("the PEM key: {unfit}"), unfit.help()))?;
    check_allowed(key, allowed)
}

fn only_pem_label(text: &[u8]) -> Result<String, KeyError> {
    let text = String::from_utf8_lossy(text);
    let mut labels = text.lines().filter_map(|line| {
        line.trim()
            .strip_prefix("-----BEGIN ")?
            .strip_suffix("-----")
    });
    match (labels.next(), labels.next()) {
        (Some(label), None) => Ok(crate::text::clean(label, 40)),
        (None, _) => Err(KeyError::new(
            "the public key is not in PEM",
            "give a block that starts with -----BEGIN PUBLIC KEY-----",
        )),
        (Some(_), Some(_)) => Err(KeyError::new(
            "there is more than one PEM block, and nothing in a token would tell them apart",
            "keep one, or use a JWK set, where keys have names",
        )),
    }
}

fn check_allowed(key: Key, allowed: &[Algorithm]) -> Result<Key, KeyError> {
    if allowed.contains(&key.algorithm) {
        return Ok(key);
    }
    let needed = key.algorithm;
    Err(KeyError::new(
        format!("the key is for {needed:?}, which `algorithms` does not list"),
        format!("set algorithms = [\"{needed:?}\"], or give a key of another type"),
    ))
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// Reads a JWK set. Keys that are not made for verifying tokens with an
/// allowed algorithm (by type, `alg`, `use` or `key_ops`) are passed over, as
/// RFC 7517 section 5 asks; one of the right kind that is broken is an error.
pub(super) fn jwks(json: &str, allowed: &[Algorithm]) -> Result<Vec<NamedKey>, KeyError> {
    let set: JwkSet = serde_json::from_str(json).map_err(|error| {
        // The error's own text may quote the input, which may hold a secret.
        let place = format!("line {}, column {}", error.line(), error.column());
        KeyError::new(
            format!("the JWK set is not one: see its {place}"),
            r#"give a JSON object of the form {"keys": [{"kty": "RSA", "kid": "…", …}]}"#,
        )
    })?;
    let mut keys: Vec<NamedKey> = Vec::new();
    for (index, json) in set.keys.into_iter().enumerate() {
        let Some(named) = read_jwk(json, index, allowed)? else {
            continue;
        };
        let twin =
            |other: &NamedKey| other.id == named.id && other.key.algorithm == named.key.algorithm;
        if named.id.is_some() && keys.iter().any(twin) {
            return Err(KeyError::new(
                format!("key {index} of the JWK set has the same type and `kid` as one before it"),
                "give every key a `kid` of its own (RFC 7517 section 4.5)",
            ));
        }
        keys.push(named);
    }
    match keys.len() {
        0 => Err(KeyError::new(
            format!("no key of the JWK set can verify a token with one of {allowed:?}"),
            "look at `kty`, `crv`, `alg`, `use` and `key_ops` of its keys, and at `algorithms` here",
        )),
        1..=MOST_KEYS => Ok(keys),
        count => Err(KeyError::new(
            format!(
                "the JWK set has {count} keys to verify tokens with, and {MOST_KEYS} is the most"
            ),
            "remove the keys that are no longer in use",
        )),
    }
}

fn read_jwk(
    json: Value,
    index: usize,
    allowed: &[Algorithm],
) -> Result<Option<NamedKey>, KeyError> {
    let is_private = json.get("kty") != Some(&"oct".into()) && json.get("d").is_some();
    let broken =
        |problem: &str, help| KeyError::new(format!("key {index} of the JWK set: {problem}"), help);
    let jwk: Jwk = serde_json::from_value(json)
        .map_err(|_| broken("it is not a JSON Web Key", "copy it from the issuer again"))?;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return Ok(None),
    };
    if is_private {
        return Err(broken(
            "it has its private part",
            "remove `d` and the members that go with it",
        ));
    }
    let common = &jwk.common;
    let made_for_it = common
        .key_algorithm
        .is_none_or(|alg| alg == KeyAlgorithm::from(algorithm))
        && common
            .public_key_use
            .as_ref()
            .is_none_or(|r#use| *r#use == PublicKeyUse::Signature)
        && common
            .key_operations
            .as_ref()
            .is_none_or(|ops| ops.contains(&KeyOperations::Verify));
    if !made_for_it || !allowed.contains(&algorithm) {
        return Ok(None);
    }
    let key = DecodingKey::from_jwk(&jwk)
        .map_err(|_| broken("it is not valid base64url", "copy it from the issuer again"))
        .and_then(|decoding| {
            Key::new(decoding).map_err(|unfit| broken(&unfit.to_string(), unfit.help()))
        })?;
    Ok(Some(NamedKey {
        id: jwk.common.key_id,
        key,
    }))
}
